"""Ends a reply before a text that the client named, which itself is not given."""

from __future__ import annotations

from collections.abc import Sequence

from ste_ray.serving.replies import Piece


class StopTexts:
    """Looks for the texts that end one reply.

    What may be the beginning of such a text is held back until it is known. Only the text for the
    user is looked at; calls and reasoning are let through.

    Args:
        stops: the texts, none of them empty.

    Attributes:
        found: whether the reply has ended; what comes after is not to be given.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.found = False

    def feed(self, piece: Piece) -> list[Piece]:
        """Return what can be given once a piece has come."""
        if piece.kind != "content":
            return [*self.finish(), piece]
        self._held += piece.text
        places = [place for place in map(self._held.find, self._stops) if place >= 0]
        if places:
            self.found = True
            self._held = self._held[: min(places)]
            return self.finish()
        free = len(self._held) - self._pending()
        given, self._held = self._held[:free], self._held[free:]
        return _content(given)

    def finish(self) -> list[Piece]:
        """Return what was held back and is no stop."""
        given, self._held = self._held, ""
        return _content(given)

    def _pending(self) -> int:
        """Return how many characters at the end may begin a stop."""
        longest = max(map(len, self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(one.startswith(self._held[-length:]) for one in self._stops):
                return length
        return 0


def _content(text: str) -> list[Piece]:
    return [Piece("content", text)] if text else []

"""Ends a reply before a text that the client named, which itself is not given."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from ste_ray.serving.replies import Piece


async def until_stop(
    pieces: AsyncIterator[Piece], stops: Sequence[str]
) -> AsyncGenerator[Piece, None]:
    """Yield pieces up to the first of the texts in ``stops``.

    What may be the beginning of such a text is held back until it is known. Only the text for the
    user is looked at; calls and reasoning are let through.
    """
    held = ""
    async for piece in pieces:
        if piece.kind != "content" or not stops:
            if held:
                yield Piece("content", held)
                held = ""
            yield piece
            continue
        held += piece.text
        found = [place for place in (held.find(one) for one in stops) if place >= 0]
        if found:
            if min(found):
                yield Piece("content", held[: min(found)])
            return
        free = len(held) - _pending(held, stops)
        if free:
            yield Piece("content", held[:free])
            held = held[free:]
    if held:
        yield Piece("content", held)


def _pending(text: str, stops: Sequence[str]) -> int:
    """Return how many characters at the end may begin a stop."""
    longest = max(map(len, stops)) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(one.startswith(text[-length:]) for one in stops):
            return length
    return 0

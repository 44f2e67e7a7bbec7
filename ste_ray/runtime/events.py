"""Event sinks: one that counts and keeps what is to be shown, one that ignores everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class NullEvents:
    """Ignores all events."""

    def emit(self, name: str, fields: Mapping[str, object]) -> None:
        """Do nothing."""


class EventBuffer:
    """Counts events, and keeps them for display if asked to; drained by whoever shows them."""

    def __init__(self, keep: bool = False) -> None:
        self._keep = keep
        self._counts: Counter[str] = Counter()
        self._kept: list[tuple[str, dict[str, object]]] = []

    def emit(self, name: str, fields: Mapping[str, object]) -> None:
        """Count the event, and its tokens where it has any."""
        self._counts["replayed" if fields.get("replayed") else name] += 1
        tokens = fields.get("tokens")
        if isinstance(tokens, tuple) and not fields.get("replayed"):
            self._counts["prompt_tokens"] += tokens[0]
            self._counts["completion_tokens"] += tokens[1]
        if self._keep:
            self._kept.append((name, dict(fields)))

    def drain(self) -> tuple[dict[str, int], list[tuple[str, dict[str, object]]]]:
        """Return the counts so far, and the events kept since the last drain."""
        kept, self._kept = self._kept, []
        return dict(self._counts), kept

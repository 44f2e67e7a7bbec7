"""Event sinks: one that counts and keeps what is to be shown, one that ignores everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

# role, prompt tokens, cached ones among them, completion tokens -> US dollars
Cost = Callable[[str, int, int, int], float]
_FAILED_CALLS = ("error", "rejected", "timeout", "crashed")


def _free(*_: object) -> float:
    return 0.0


class NullEvents:
    """Ignores all events."""

    def emit(self, name: str, fields: Mapping[str, object]) -> None:
        """Do nothing."""


class EventBuffer:
    """Counts events, and keeps them for display if asked to; drained by whoever shows them.

    Counted are: ``model``, ``tool`` and other events by name; ``replayed`` ones; ``prompt_tokens``,
    ``completion_tokens``, ``reasoning_tokens`` among them and ``usd`` of new replies; ``reasoned``,
    those before which the model reasoned; ``tool_failures``; and ``fault KIND``.
    """

    def __init__(self, keep: bool = False, cost: Cost = _free) -> None:
        self._keep = keep
        self._cost = cost
        self._counts: Counter[str] = Counter()
        self._kept: list[tuple[str, dict[str, Any]]] = []

    def emit(self, name: str, fields: Mapping[str, Any]) -> None:
        """Count the event, and its tokens where it has any."""
        counts = self._counts
        if self._keep:
            self._kept.append((name, dict(fields)))
        if fields.get("replayed"):
            counts["replayed"] += 1
            return
        counts[name] += 1
        tokens = fields.get("tokens")
        if tokens:
            prompt, cached, completion = tokens
            counts["prompt_tokens"] += prompt
            counts["completion_tokens"] += completion
            if fields.get("reasoned"):
                counts["reasoned"] += 1
                counts["reasoning_tokens"] += fields["reasoning_tokens"]
            counts["usd"] += self._cost(fields["role"], prompt, cached, completion)  # type: ignore[assignment]
        for fault in fields.get("faults", ()):
            counts[f"fault {fault.kind}"] += 1
        if fields.get("status") in _FAILED_CALLS:
            counts["tool_failures"] += 1

    def drain(self) -> tuple[dict[str, float], list[tuple[str, dict[str, Any]]]]:
        """Return the counts so far, and the events kept since the last drain."""
        kept, self._kept = self._kept, []
        return dict(self._counts), kept

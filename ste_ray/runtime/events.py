"""Event sinks: one that counts and keeps what is to be shown, one that ignores everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ste_ray.core.records import MADE_CALLS

# role, prompt tokens, cached ones among them, completion tokens -> US dollars
Cost = Callable[[str, int, int, int], float]
Shown = tuple[str, dict[str, Any]]  # name and fields of an event
_FAILED_CALLS = MADE_CALLS - {"ok"}
_MAX_CHARS = 32 << 20  # of messages that wait to be shown


def _free(*_: object) -> float:
    return 0.0


class NullEvents:
    """Ignores all events."""

    def emit(self, name: str, fields: Mapping[str, object]) -> None:
        """Do nothing."""


class Backlog:
    """Events that wait to be shown, in order; taken by the one who shows them, and by nobody else.

    When those that wait have more than ``max_chars`` of text, further ones are left out and
    counted until they are taken.
    """

    def __init__(self, max_chars: int = _MAX_CHARS) -> None:
        self._max_chars = max_chars
        self._chars = 0
        self._events: list[Shown] = []
        self._left_out = 0

    def add(self, events: Iterable[Shown], left_out: int = 0) -> None:
        """Let events wait; ``left_out`` were left out on their way here."""
        self._left_out += left_out
        for name, fields in events:
            size = sum(len(value) for value in fields.values() if isinstance(value, str))
            if self._left_out or self._chars + size > self._max_chars:
                self._left_out += 1
                continue
            self._chars += size
            self._events.append((name, fields))

    def take(self) -> tuple[tuple[Shown, ...], int]:
        """Return what waits, and how many events after it were left out."""
        taken = tuple(self._events), self._left_out
        self._events, self._left_out, self._chars = [], 0, 0
        return taken


class EventBuffer:
    """Counts events, and keeps them for display if asked to.

    Counted are: ``model``, ``tool`` (calls that were made) and other events by name; ``replayed``
    ones; ``prompt_tokens``, ``completion_tokens``, ``reasoning_tokens`` among them and ``usd`` of
    new replies; ``reasoned``, those before which the model reasoned; ``tool_failures`` of calls
    that were made, ``tool_not_made`` of others; and ``fault KIND``.
    """

    def __init__(self, keep: bool = False, cost: Cost = _free) -> None:
        self._cost = cost
        self._counts: Counter[str] = Counter()
        self._kept = Backlog() if keep else None

    def emit(self, name: str, fields: Mapping[str, Any]) -> None:
        """Count the event, and its tokens where it has any."""
        counts = self._counts
        if self._kept is not None:
            self._kept.add([(name, dict(fields))])
        if fields.get("replayed"):
            counts["replayed"] += 1
            return
        status = fields.get("status")
        counts["tool_not_made" if status and status not in MADE_CALLS else name] += 1
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
        if status in _FAILED_CALLS:
            counts["tool_failures"] += 1

    @property
    def counts(self) -> dict[str, float]:
        """The counts so far."""
        return dict(self._counts)

    def take_shown(self) -> tuple[tuple[Shown, ...], int]:
        """Return the events kept since this was called last; see ``Backlog.take``."""
        return self._kept.take() if self._kept is not None else ((), 0)

"""Which of many things a page shows: tools take turns, so that none crowds out the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar


class OfTool(Protocol):
    """Something that belongs to a tool."""

    @property
    def tool(self) -> str:
        """The tool's name."""
        ...


T = TypeVar("T", bound=OfTool)


def spread_over_tools(items: Iterable[T], identity: Callable[[T], str]) -> list[T]:
    """Order items so that each tool has its first before any has its second.

    Among those of a tool, and between tools, the identity decides: ids are hashes, so that the
    order is arbitrary but the same in every run of the report.
    """
    seen: Counter[str] = Counter()
    keyed = []
    for item in sorted(items, key=identity):
        seen[item.tool] += 1
        keyed.append((seen[item.tool], identity(item), item))
    return [item for _, _, item in sorted(keyed, key=lambda one: one[:2])]

"""Which tools a row offers: the right one among hard distractors, in a list that tells nothing.

A wrong tool teaches something where it could be taken for the right one, so tools are offered with
those most like them. Were a list drawn around the right tool, it would stand in the middle, and a
model could learn to call what is most like all the others, whatever was asked. So lists are made
first, of tools that are like each other, in rounds in which each tool comes about once; and a row
takes one of the lists that hold its tool. Every tool of a list is then as often the right one as
any other. How tools are ranked by likeness is not decided here.
Source of the weighted draw: Efraimidis and Spirakis (2006), sampling without replacement.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from ste_ray.core.preparing.mixing import draw_number
from ste_ray.core.records import Example, TrainRow
from ste_ray.core.toolkens import unescape_toolkens

# The likest tools are so many times those that a list takes beside the first one.
POOL = 2
# Each tool is in so many lists, or in one more, so the odds of two tools in a list differ by a
# sixteenth at most.
ROUNDS = 16


class AskedRow(NamedTuple):
    """What decides which tools a row offers.

    Attributes:
        key: of the draw; rows of one key and right tool offer the same.
        query: the request, which is looked at where no call is right.
        right: the tool to call; empty: none.
        absent: a tool that the row says is not there; empty: none.
    """

    key: str
    query: str
    right: str = ""
    absent: str = ""


class ToolChoice(Protocol):
    """Chooses the tools that rows offer, such as those most like the right one."""

    def of(self, rows: Sequence[AskedRow]) -> list[list[str]]:
        """Return the names of the tools of each row, the right one among them."""
        ...


def asked_row(row: Example | TrainRow) -> AskedRow | None:
    """Return what decides the offer of a row; None: it is general data and offers no tools.

    The rows of an example offer what the example itself does.
    """
    if isinstance(row, Example):
        return AskedRow(row.example_id, row.query, right=row.tool)
    if row.kind == "general":
        return None
    query = unescape_toolkens(row.dialog_history[-1].content)
    if row.kind == "no_call":
        return AskedRow(row.row_id, query, absent=row.tool)
    return AskedRow(row.example_id, query, right=row.tool)


def alike_lists(likest: Sequence[Sequence[int]], number: int, seed: int) -> list[tuple[int, ...]]:
    """Return lists of tools that are like each other, each tool in ``ROUNDS`` of them or one more.

    Args:
        likest: for each tool those most like it, the likest first; tools are numbered from 0.
        number: of tools in a list, from 1 to all.
        seed: of the draws.

    Raises:
        ValueError: there are not so many tools.
    """
    if not 1 <= number <= len(likest):
        raise ValueError(f"number={number!r} must be at least 1 and at most {len(likest)}")
    maker = _Lists(likest, number, random.Random(seed))
    return [one for _ in range(ROUNDS) for one in maker.round()]


class _Lists:
    """Makes lists round by round.

    A round makes lists around tools that are in none of the round yet, those first that have the
    fewest others like them left: so hardly any tool is left over for a list of strangers.
    """

    def __init__(self, likest: Sequence[Sequence[int]], number: int, rng: random.Random) -> None:
        self._likest = likest
        self._number = number
        self._rng = rng
        self._used = [0] * len(likest)
        self._round = 0
        self._usable = len(likest)  # tools that one more list does not put two ahead
        self._likening: list[list[int]] = [[] for _ in likest]  # whose likest a tool is among
        for tool, others in enumerate(likest):
            for other in others:
                self._likening[other].append(tool)

    def round(self) -> Iterator[tuple[int, ...]]:
        """Yield lists until each tool has been in one more."""
        self._round += 1
        self._usable = len(self._used)
        left = [sum(map(self._waits, others)) for others in self._likest]
        heap = [(left[tool], self._rng.random(), tool) for tool in self._waiting()]
        heapq.heapify(heap)
        while heap:
            number, _, tool = heapq.heappop(heap)
            if not self._waits(tool) or number != left[tool]:
                continue  # it was used, or stands there again with what is left now
            found = self._around(tool)
            for member in found:
                waited = self._waits(member)
                self._used[member] += 1
                self._usable -= self._used[member] > self._round
                for one in self._likening[member] if waited else ():
                    left[one] -= 1
                    if self._waits(one):
                        heapq.heappush(heap, (left[one], self._rng.random(), one))
            yield tuple(found)

    def _waits(self, tool: int) -> bool:
        return self._used[tool] < self._round

    def _waiting(self) -> Iterator[int]:
        return (tool for tool in range(len(self._used)) if self._waits(tool))

    def _around(self, tool: int) -> list[int]:
        """Return a list with ``tool``: with those most like it, else with those like these.

        Tools that are one list ahead are taken as long as so many are left that those which wait
        find company without any that is two lists ahead.
        """
        found = [tool]
        if self._usable < 2 * self._number:
            self._grow(found, ahead=False)
            self._fill(found, ahead=False)
        self._grow(found, ahead=True)
        self._fill(found, ahead=True)
        return found

    def _grow(self, found: list[int], ahead: bool) -> None:
        """Add what is most like the first of a list, then what is like the next ones."""
        for member in found:
            for other in self._drawn(member, ahead):
                if len(found) == self._number:
                    return
                if other not in found:
                    found.append(other)

    def _fill(self, found: list[int], ahead: bool) -> None:
        """Add tools that are like none of a list, where it is not full and nothing else is left."""
        if len(found) < self._number:
            strangers = [
                (used, one)
                for one, used in enumerate(self._used)
                if used < self._round + ahead and one not in found
            ]
            found += [one for _, one in sorted(strangers)[: self._number - len(found)]]

    def _drawn(self, tool: int, ahead: bool) -> list[int]:
        """Return what is like a tool in an order drawn with the weights 1/rank, waiting first."""
        waits = [
            (not self._waits(other), -math.log(1.0 - self._rng.random()) * rank, other)
            for rank, other in enumerate(self._likest[tool], start=1)
            if self._used[other] < self._round + ahead
        ]
        return [other for _, _, other in sorted(waits)]


def shuffled(tools: Iterable[str], row: AskedRow, seed: int) -> list[str]:
    """Return the tools of a row in an order that depends on row and seed alone."""
    return sorted(tools, key=lambda tool: (draw_number(tool, seed, f"{row.key} order"), tool))

"""Which tools a row offers: the right one among hard distractors, in an order that tells nothing.

A wrong tool teaches something where it could be taken for the right one. So those to draw from come
in a ranking, the likest first, and each row draws some of the first ones: one of rank r with weight
1/r, so that the likest are nearly always there and the others vary from row to row. What is drawn
depends on seed, row and ranking alone. How tools are ranked is not decided here.
Source of the draw: Efraimidis and Spirakis (2006), weighted sampling without replacement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ste_ray.core.preparing.mixing import draw_number
from ste_ray.core.records import Example, TrainRow
from ste_ray.core.toolkens import unescape_toolkens

# Distractors are drawn from so many times their number. Were they the same in all rows of a tool,
# the list itself would tell which tool is right.
POOL = 2


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


def draw_offer(ranked: Sequence[str], number: int, row: AskedRow, seed: int) -> list[str]:
    """Return the tools that a row offers, the right one among them at any place.

    Args:
        ranked: the tools to draw from, those that are hardest to tell from what is asked first.
        number: how many tools to offer, 1 or more; fewer where there are not so many.
        row: whose offer it is; its absent tool is not in it.
        seed: of the draw.
    """
    others = [tool for tool in ranked if tool not in (row.right, row.absent)]
    num_others = number - bool(row.right)
    drawn = others[: POOL * num_others]
    if len(drawn) > num_others:
        # Each has an exponential of rate 1/rank; those of the smallest are the weighted sample.
        waits = [
            -math.log((draw_number(tool, seed, row.key) + 1) / 2**64) * rank
            for rank, tool in enumerate(drawn, start=1)
        ]
        by_wait = sorted(range(len(drawn)), key=waits.__getitem__)
        drawn = [drawn[place] for place in by_wait[:num_others]]
    offered = [row.right, *drawn] if row.right else drawn
    return sorted(offered, key=lambda tool: (draw_number(tool, seed, f"{row.key} order"), tool))

"""Which rows of a step begin alike, so that they are packed behind one beginning, computed once.

Rows of one kind begin with the same system message. In the order of their tokens, rows that begin
alike are neighbours. From the longest common beginnings to the shortest, rows become a group of
their own where that spares more tokens than another pass of the model costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ste_ray.training.examples import TokenisedRow
from ste_ray.training.plan import PASS_TOKENS, RowGroup

_Ids = np.ndarray[tuple[int], np.dtype[Any]]


def group_by_beginning(rows: Sequence[TokenisedRow], num_ranks: int) -> list[RowGroup]:
    """Return groups of rows that begin alike; each row is in one.

    What a group shares ends before the first token that predicts a label, in all of its rows.
    Each of ``num_ranks`` ranks is taken to compute a group's beginning, and a pass, of its own.
    """
    ids: list[_Ids] = [np.asarray(row.input_ids) for row in rows]
    context = [row.prompt_tokens - 1 for row in rows]  # the prompt's last token predicts a label

    def shared_by(ordered: Sequence[int]) -> int:
        common = _common(ids[ordered[0]], ids[ordered[-1]])
        return min(common, *(context[row] for row in ordered))

    order = sorted(range(len(rows)), key=lambda row: ids[row].tolist())
    ends = [shared_by(pair) for pair in pairwise(order)]
    root = min(ends, default=0)
    groups: list[list[int]] = []

    def left_over(members: list[int], shared: int, outer: int) -> list[int]:
        """Make a group of rows if that pays beside joining those that share less."""
        if num_ranks * (shared + PASS_TOKENS) >= len(members) * (shared - outer):
            return members
        groups.append(members)
        return []

    # A walk over the tree of common beginnings: what is open holds more and more tokens.
    is_open: list[tuple[int, list[int]]] = []
    for row, end in zip(order, [*ends, root], strict=True):
        shared, members = context[row], [row]
        while is_open and is_open[-1][0] > end:
            outer, others = is_open.pop()
            shared, members = outer, others + left_over(members, shared, outer)
        if not is_open or is_open[-1][0] < end:
            is_open.append((end, []))
        is_open[-1][1].extend(left_over(members, shared, end))
    groups += [members for _, members in is_open if members]
    return [RowGroup(tuple(members), shared_by(members)) for members in groups]


def _common(one: _Ids, other: _Ids) -> int:
    """Return how many tokens two rows have in common at their beginning."""
    length = min(len(one), len(other))
    differing = np.flatnonzero(one[:length] != other[:length])
    return int(differing[0]) if len(differing) else length

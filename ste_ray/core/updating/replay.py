"""Which rows of the run before an update trains on, so that they are not forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ste_ray.core.preparing.mixing import draw, in_share

_OF_NO_EXAMPLE = ("general", "no_call")


class RowKey(NamedTuple):
    """What decides whether a row is drawn."""

    row_id: str
    example_id: str
    tool: str
    split: str
    kind: str


def replayed(
    rows: Sequence[RowKey], quotas: Mapping[str, int], fraction: float, seed: int, label: str
) -> list[bool]:
    """Return of each row whether it is trained on again.

    Of a tool whole examples are drawn, a call with its final answer; of general data single rows.
    Validation rows are all kept: they show what is forgotten.

    Args:
        rows: with all rows of each tool that is among them.
        quotas: tool -> number of its examples to draw.
        fraction: of the rows that belong to no example.
        seed: of the draw.
        label: of the draw: each update draws others.
    """
    examples: dict[str, set[str]] = {}
    for row in rows:
        if row.split == "train" and row.kind not in _OF_NO_EXAMPLE:
            examples.setdefault(row.tool, set()).add(row.example_id)
    drawn = {
        tool: draw(found, quotas.get(tool, 0), seed, label) for tool, found in examples.items()
    }
    return [
        row.split == "validation"
        or (
            in_share(row.row_id, fraction, seed, label)
            if row.kind in _OF_NO_EXAMPLE
            else row.example_id in drawn[row.tool]
        )
        for row in rows
    ]


def share_of_steps(max_steps: int, trained: int, total: int) -> int:
    """Return the steps of an update whose full training has ``max_steps``: as many passes.

    Args:
        max_steps: of a training on all rows; 0 stays 0.
        trained: rows that the update trains on.
        total: all rows.
    """
    return min(max_steps, -(-max_steps * trained // max(1, total)))

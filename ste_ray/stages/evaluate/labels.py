"""Pairs of arguments that people labelled, to measure the scorer on, and those left to label."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ste_ray.core import layout
from ste_ray.core.records import canonical_json
from ste_ray.core.replies.parsing import ToolCall, parse_action
from ste_ray.core.replies.reasoning import separate
from ste_ray.core.scoring.comparing import compare_arguments
from ste_ray.core.scoring.equivalence import Pair
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import StageInputError
from ste_ray.imports.rows import Row, read_rows
from ste_ray.stages.base import StageContext

_YES = (1, True, "same", "yes", "correct")
_NO = (0, False, "different", "no", "wrong")


@dataclass(frozen=True)
class LabelledPair:
    """A pair, and whether a person says that both mean the same."""

    pair: Pair
    same: bool


def write_undecided(context: StageContext, pairs: Iterable[Pair]) -> None:
    """Write the pairs that no rule decides, ready to be labelled by a person."""
    lines = [
        json.dumps(
            {
                "tool": pair.tool,
                "query": pair.query,
                "arguments": json.loads(pair.gold_json),
                "predicted": json.loads(pair.predicted_json),
                "label": None,
            },
            ensure_ascii=False,
        )
        for pair in pairs
    ]
    text = "".join(f"{line}\n" for line in lines)
    context.store.write_bytes(layout.UNDECIDED, text.encode(errors="replace"))


def read_labels(path: str, specs: Mapping[str, ToolSpec]) -> list[LabelledPair]:
    """Read labelled pairs, and keep those that would reach the scorer.

    A row has the right tool and arguments, and either ``predicted`` (arguments) and ``label``
    (same, different), or as in the study's saved results ``model_output`` and ``args_correct``.

    Raises:
        StageInputError: the labels cannot be used.
    """
    found, unlabelled = [], 0
    for row in read_rows(path):
        value = row.fields.get("label", row.fields.get("args_correct"))
        if value is None:
            unlabelled += 1
            continue
        if value not in (*_YES, *_NO):
            raise row.error(f"its label is {value!r}; it must be 'same' or 'different', or 1 or 0")
        pair = _labelled_pair(row, specs)
        if pair is not None:
            found.append(LabelledPair(pair, value in _YES))
    if not found:
        raise StageInputError(
            f"evaluate.judge.labels={path!r} holds no labelled pair that the rules leave open"
            f" ({unlabelled} rows have no label); label rows of {layout.UNDECIDED!r}"
        )
    return found


def _labelled_pair(row: Row, specs: Mapping[str, ToolSpec]) -> Pair | None:
    """Return the pair of a row; None: its tool is not known here, or the rules decide it."""
    spec = specs.get(row.tool)
    if spec is None:
        return None
    if "predicted" in row.fields:
        predicted = row.fields["predicted"]
        if not isinstance(predicted, dict):
            raise row.error(f"'predicted' is {predicted!r}, it must be a JSON object")
    else:
        reply = parse_action(separate(row.text("model_output")).content, specs, suggest=False)
        if not isinstance(reply, ToolCall) or reply.tool != row.tool:
            return None
        predicted = reply.arguments
    gold = json.loads(row.arguments_json)
    accepted = json.loads(row.accepted_json or "{}")
    differences = compare_arguments(gold, predicted, spec.parameters, accepted)
    if not differences.undecided:
        return None
    query = row.text("query", default="")
    return Pair(row.tool, query, row.arguments_json, canonical_json(predicted), differences.wrong)

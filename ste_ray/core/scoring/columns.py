"""Scoring predictions as columns, as tables hold them: what ``scores`` decides, in less time.

``scores.score_prediction`` is the definition. Here the common reply, one plain call with a flat
object of arguments, is read without a record of the prediction or of the score; every other reply,
and whatever is wrong with a prediction, goes to the definition. What one core can score is bounded
by reading JSON, writing it in canonical form and comparing arguments, once each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json

from ste_ray.core.records import Prediction, Score, canonical_json
from ste_ray.core.replies.tool_names import no_such_tool, tool_name_in
from ste_ray.core.scoring.comparing import compare_arguments
from ste_ray.core.scoring.equivalence import Pair
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.core.tool_specs import ToolSpec

Columns = Mapping[str, Sequence[Any]]

# Those that a score has from its prediction.
_COPIED = (
    *("example_id", "setting", "tool", "prompt_tokens", "completion_tokens"),
    *("final_prompt_tokens", "final_completion_tokens", "kind", "near_tool"),
)
# Those of a prediction that are looked at; records are asked for where these do not suffice.
NEEDED = (
    *_COPIED,
    *("query", "arguments_json", "accepted_json"),
    *("output_text", "error", "native", "calls", "oddities"),
)
_INPUT = re.compile("input", re.IGNORECASE)
_MAX_CHARS = 4_000  # fewer than the digits of the longest whole number that is read
_KEPT = 8_192  # decisions, and names of tools, that are kept: memory stays as it is
_KEPT_CHARS = 1_000  # of what one is kept by; longer texts hardly come twice


class _Decision(NamedTuple):
    """The fields of a score that depend on nothing but the right call and the reply."""

    outcome: str
    num_gold_arguments: int
    predicted_tool: str = ""
    predicted_arguments_json: str = ""
    failure_kind: str = ""
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    detail: str = ""
    undecided: bool = False


_REST = {
    name: field.default
    for name, field in Score.model_fields.items()
    if name not in (*_Decision._fields, *_COPIED)
}


class ColumnScorer:
    """Scores tables of predictions, one after the other.

    Args:
        spec_by_name: all registered tools, as ``score_prediction`` takes them.
    """

    def __init__(self, spec_by_name: Mapping[str, ToolSpec]) -> None:
        self._specs = spec_by_name
        self._decisions: dict[tuple[str, str, str, str], _Decision | None] = {}
        self._names: dict[str, str] = {}

    def score(
        self, columns: Columns, records_of: Callable[[list[int]], Sequence[Prediction]]
    ) -> dict[str, list[Any]]:
        """Return the columns of the scores, by field of ``Score``, in the order of predictions.

        Args:
            columns: those ``NEEDED`` of the predictions, of one length; calls as mappings.
            records_of: returns the predictions at some rows, in their order.

        Raises:
            StageInputError: as ``score_prediction`` does, of the first row that it refuses.
        """
        decisions = self._decide(columns)
        left = [row for row, found in enumerate(decisions) if found is None]
        for row, prediction in zip(left, records_of(left) if left else (), strict=True):
            decisions[row] = _of_score(score_prediction(prediction, self._specs))
        scored = {name: list(columns[name]) for name in _COPIED}
        fields = map(list, zip(*decisions, strict=True)) if decisions else ([],) * 10
        scored |= dict(zip(_Decision._fields, fields, strict=True))
        scored |= {name: [default] * len(decisions) for name, default in _REST.items()}
        return {name: scored[name] for name in Score.model_fields}

    def _decide(self, columns: Columns) -> list[Any]:
        """Return a decision for each row, None where a record is needed."""
        looked_at = ("tool", "arguments_json", "output_text", "native", "calls")
        beside = ("error", "accepted_json", "oddities", "kind")
        found = []
        for tool, gold, text, native, calls, error, accepted, oddities, kind in zip(
            *(columns[name] for name in (*looked_at, *beside)), strict=True
        ):
            call = None
            # What failed before is looked at too where it was shown.
            if not error and not accepted and kind != "recovery" and tool in self._specs:
                if not native:
                    call = self._plain_call(text)
                elif len(calls) == 1 and not oddities:
                    call = calls[0]["name"], calls[0]["arguments_text"].strip()
            found.append(self._kept_decision(tool, gold, *call) if call else None)
        return found

    def _plain_call(self, text: str) -> tuple[str, str] | None:
        """Return the tool's name and the text of the arguments, by the rules of ``parsing``."""
        head, between, written = text.partition("\nAction Input: ")
        if not between:
            return None
        if head.startswith("Thought: "):
            head = head.partition("\n")[2]
        if not head.startswith("Action: ") or "\n" in written:
            return None
        name = self._names.get(head)
        if name is None:
            plain = "\n" not in head and not _INPUT.search(head, 8)
            name = tool_name_in(head[8:], self._specs) if plain else ""
            _keep(self._names, head, name)
        return (name, written) if name else None

    def _kept_decision(self, tool: str, gold: str, name: str, written: str) -> _Decision | None:
        key = (tool, gold, name, written)
        if key in self._decisions:
            return self._decisions[key]
        found = self._decision(*key)
        _keep(self._decisions, key, found)
        return found

    def _decision(self, tool: str, gold_text: str, name: str, written: str) -> _Decision | None:
        read = _flat_object(written)
        if read is None:
            return None
        arguments, arguments_json = read
        try:
            gold = arguments if written == gold_text else from_json(gold_text)
        except (ValueError, TypeError):
            return None
        if type(gold) is not dict:
            return None
        if name not in self._specs:
            detail = no_such_tool(name, self._specs, suggest=False)
            return _Decision("unknown_tool", len(gold), name, detail=detail)
        if name != tool:
            return _Decision("wrong_tool", len(gold), name, arguments_json)
        found = compare_arguments(gold, arguments, self._specs[tool].parameters)
        if not found:
            return _Decision("correct", len(gold), name, arguments_json)
        return _Decision(
            *("wrong_arguments", len(gold), name, arguments_json, ""),
            *(found.missing, found.extra, found.wrong, "", found.undecided),
        )


def undecided_pairs(predictions: Columns, scores: Columns) -> list[Pair]:
    """Return what a judge would have to compare, as ``scores.undecided_pair`` does, of all rows."""
    return [
        Pair(
            predictions["tool"][row],
            predictions["query"][row],
            canonical_json(from_json(predictions["arguments_json"][row])),
            scores["predicted_arguments_json"][row],
            scores["wrong"][row],
        )
        for row, undecided in enumerate(scores["undecided"])
        if undecided
    ]


def _flat_object(written: str) -> tuple[dict[str, Any], str] | None:
    """Read an object of plain values and write its canonical JSON.

    Returns:
        What ``decode_value`` returns of it; None where that has to look itself: what it
        refuses, and objects with anything nested or escaped.
    """
    if "\\" in written or len(written) > _MAX_CHARS or written[:1] != "{" or written[-1] != "}":
        return None
    try:
        value = from_json(written, allow_inf_nan=False)
    except (ValueError, TypeError):  # the latter of half a surrogate pair
        return None
    texts = len(value)
    for one in value.values():
        kind = type(one)
        if kind is str:
            texts += 1
        elif kind is float:
            if one - one != 0:  # infinite
                return None
        elif kind is dict or kind is list:
            return None
    # Without escapes each text has two quotes, so a key that comes twice leaves some over.
    if written.count('"') != 2 * texts:
        return None
    return value, canonical_json(value)


def _keep(kept: dict[Any, Any], key: str | tuple[str, ...], value: Any) -> None:
    if sum(map(len, (key,) if isinstance(key, str) else key)) > _KEPT_CHARS:
        return
    if len(kept) >= _KEPT:
        kept.clear()
    kept[key] = value


def _of_score(score: Score) -> _Decision:
    return _Decision(*(getattr(score, name) for name in _Decision._fields))

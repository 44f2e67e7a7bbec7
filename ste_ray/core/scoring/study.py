"""The published study's own rules for reading and scoring predictions, faults and all.

They are here to reproduce its figures, and for nothing else: they destroy nested objects, turn any
made-up name into a real one, never find an extra argument wrong, and divide API matches by
well-formed predictions only. New work uses ``ste_ray.core.replies.parsing`` and
``ste_ray.core.scoring.scores``.

Source: Wang et al., "LLMs in the Imaginarium: Tool Learning through Simulated Trial and Error",
2024, arXiv 2403.04746.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from ste_ray.core.records import Record
from ste_ray.errors import StageInputError

_FINAL_ANSWER = "Final Answer:"
_ACTION = "Action:"
_ACTION_INPUT = "Action Input:"
_LITERAL_NEWLINE = "\\n"  # a backslash and an n, as the study's models sometimes wrote
_CUTOFF = 0.001

Items = Mapping[str, Sequence[Mapping[str, Any]]]
Verdicts = Literal["recorded", "rules"]


@dataclass(frozen=True, slots=True)
class StudyCall:
    """A prediction as the study read it; only a call has a tool and arguments."""

    kind: Literal["no_call", "malformed", "call"]
    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


def study_parse(model_output: str, candidates: Sequence[str]) -> StudyCall:
    """Read a prediction by the study's rules 1 to 5.

    Args:
        model_output: the raw text.
        candidates: names a call may have, in the order of the predictions file; another name
            becomes the closest of them.
    """
    text = model_output.strip()
    if _FINAL_ANSWER in text:
        text = text.partition(_FINAL_ANSWER)[0]
        if _ACTION_INPUT not in text:
            return StudyCall("no_call")
    if text.count(_ACTION_INPUT) != 1:
        return StudyCall("malformed")
    left, _, right = text.partition(_ACTION_INPUT)
    tool = _read_tool(left, candidates)
    arguments = _read_arguments(right)
    if tool is None or arguments is None:
        return StudyCall("malformed")
    return StudyCall("call", tool, arguments)


def study_arguments_match(gold: Mapping[str, Any], predicted: Mapping[str, Any]) -> bool:
    """Compare arguments by the study's rule 6: every gold key, values as lower-case text."""
    return all(
        key in predicted and _as_text(predicted[key]) == _as_text(value)
        for key, value in gold.items()
    )


def _as_text(value: Any) -> str:
    return str(value).strip().lower()


def _strip(text: str) -> str:
    text = text.strip()
    end = len(text)
    while text.endswith(_LITERAL_NEWLINE, 0, end):
        end -= len(_LITERAL_NEWLINE)
    return text[:end].strip()


def _read_tool(left: str, candidates: Sequence[str]) -> str | None:
    if left.count(_ACTION) != 1:
        return None
    name = _strip(_strip(left).partition(_ACTION)[2])
    name = name.replace("<tool_", "").strip("<>")
    return name if name in candidates else _closest(name, tuple(candidates))


@lru_cache(maxsize=65_536)
def _closest(name: str, candidates: tuple[str, ...]) -> str | None:
    """The closest candidate; None for a name that shares no character with any."""
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=_CUTOFF)
    return close[0] if close else None


def _read_arguments(right: str) -> dict[str, Any] | None:
    right = _strip(right)
    start, end = right.find("{"), right.rfind("}")
    if start < 0 or end < start:
        return None
    # With all braces stripped and one pair put back, the text cannot begin or end with two braces
    # any more, so the last check of rule 5 never fires; what was nested fails to load instead.
    inner = right[start : end + 1].strip("{}")
    try:
        arguments = json.loads("{" + inner + "}")
    except (ValueError, RecursionError):
        return None
    return arguments if isinstance(arguments, dict) else None


class StudyReport(Record):
    """The study's figures, in percent with three decimals; None where nothing was counted.

    ``label_mismatches`` counts the items whose recorded ``no_call``, ``err`` or ``api_match``
    differs from what the rules give.
    """

    total: int
    wellformed_pct: float | None
    api_match_pct: float | None
    correct_pct: float | None
    correct_pct_empty_args: float | None
    correct_pct_nonempty_args: float | None
    label_mismatches: int


@dataclass(frozen=True, slots=True)
class _Scored:
    wellformed: bool
    api_match: bool
    correct: bool
    empty_arguments: bool
    mismatch: bool


def study_report(
    items: Items, verdicts: Verdicts, string_match_apis: Collection[str] = ()
) -> StudyReport:
    """Compute the study's figures of a predictions file.

    Args:
        items: API name → predictions, in the order of the file; the names are the candidates.
        verdicts: ``recorded`` counts the labels that the items carry; ``rules`` applies the rules,
            and takes the recorded ``args_correct`` for APIs that a language model judged.
        string_match_apis: APIs whose arguments rule 6 decides under ``rules``.

    Raises:
        StageInputError: an item lacks a field, or has no recorded label where one is needed.
    """
    candidates = tuple(items)
    string_match = frozenset(string_match_apis)
    scored = [
        _score(_Item(api, number, item), candidates, verdicts, string_match)
        for api, predictions in items.items()
        for number, item in enumerate(predictions)
    ]
    wellformed = [score for score in scored if score.wellformed]
    empty = [score for score in scored if score.empty_arguments]
    nonempty = [score for score in scored if not score.empty_arguments]
    return StudyReport(
        total=len(scored),
        wellformed_pct=_percent([score.wellformed for score in scored]),
        api_match_pct=_percent([score.api_match for score in wellformed]),
        correct_pct=_percent([score.correct for score in scored]),
        correct_pct_empty_args=_percent([score.correct for score in empty]),
        correct_pct_nonempty_args=_percent([score.correct for score in nonempty]),
        label_mismatches=sum(score.mismatch for score in scored),
    )


def _percent(values: Sequence[bool]) -> float | None:
    return round(100 * sum(values) / len(values), 3) if values else None


@dataclass(frozen=True, slots=True)
class _Item:
    """One item of a predictions file, with its place for messages."""

    api: str
    number: int
    fields: Mapping[str, Any]

    def text(self, key: str) -> str:
        value = self.fields.get(key)
        if not isinstance(value, str):
            raise self.error(f"{key!r} is {value!r}, it must be text")
        return value

    def gold_arguments(self) -> dict[str, Any]:
        text = self.text("action_input")
        try:
            arguments = json.loads(text)
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            raise self.error(f"'action_input' is {text!r}, it must be a JSON object as text")
        return arguments

    def error(self, problem: str) -> StageInputError:
        return StageInputError(f"prediction {self.number} of API {self.api!r}: {problem}")


def _score(
    item: _Item, candidates: Sequence[str], verdicts: Verdicts, string_match: frozenset[str]
) -> _Scored:
    gold_tool, gold = item.text("action"), item.gold_arguments()
    call = study_parse(item.text("model_output"), candidates)
    labels = rule_labels(call, gold_tool)
    recorded = {key: item.fields[key] for key in _LABELS if key in item.fields}
    if not recorded and (verdicts == "recorded" or gold_tool not in string_match):
        raise item.error(
            "it carries no recorded labels ('no_call', 'err', 'api_match', 'args_correct'), "
            "which recorded verdicts and APIs outside the string-match list need"
        )
    counted = recorded if verdicts == "recorded" else labels
    api_match = counted.get("api_match") == 1
    correct = item.fields.get("args_correct") == 1
    if verdicts == "rules" and gold_tool in string_match:
        correct = study_arguments_match(gold, call.arguments)
    return _Scored(
        wellformed=not counted.get("no_call") and not counted.get("err"),
        api_match=api_match,
        correct=api_match and correct,
        empty_arguments=not gold,
        mismatch=bool(recorded) and recorded != labels,
    )


_LABELS = ("no_call", "err", "api_match")


def rule_labels(call: StudyCall, gold_tool: str) -> dict[str, int]:
    """Return the labels the study records: ``api_match`` only where the prediction is a call."""
    labels = {"no_call": int(call.kind == "no_call"), "err": int(call.kind == "malformed")}
    if call.kind == "call":
        labels["api_match"] = int(call.tool == gold_tool)
    return labels

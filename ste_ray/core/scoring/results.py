"""Whether a call with other arguments came to the same, by what the tool returned.

Of a tool that only reads, the right call and the one that was made can both be executed. Equal
results make other arguments right, but only where the result tells one request from another: that
two numbers are both ``{"valid": true}`` says nothing about whether it was the right one. Whether it
does is seen by what other right calls return, so enough of them have to be known.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from pydantic_core import from_json

from ste_ray.core.effects import ToolResult
from ste_ray.core.records import Prediction, Record, Score, canonical_json

Comparison = Literal["same", "different", "indistinct", "failed"]

MIN_OTHERS = 3  # right calls with other arguments that a result is held against


class CallPair(NamedTuple):
    """The right call of a tool, and one with other arguments; arguments as canonical JSON."""

    tool: str
    gold_json: str
    predicted_json: str


class ResultCounts(Record):
    """What executing wrong calls beside the right ones has shown, in one setting."""

    same: int  # the right result, which no other request has: they count as right
    different: int
    # The right result, but others have it too, too few others are known, or nothing is in it.
    indistinct: int
    failed: int  # the right call, or both, came to no result


def pair_to_execute(prediction: Prediction, score: Score) -> CallPair | None:
    """Return the calls to execute; None: the tool, or nothing at all, is wrong."""
    if score.outcome != "wrong_arguments":
        return None
    gold = canonical_json(from_json(prediction.arguments_json))
    return CallPair(prediction.tool, gold, score.predicted_arguments_json)


class KnownResults:
    """What right calls of each tool are known to return, and how many of them return the same."""

    def __init__(self) -> None:
        self._calls: dict[str, set[str]] = defaultdict(set)
        self._returning: dict[tuple[str, str], set[str]] = defaultdict(set)

    def add(self, tool: str, arguments_json: str, text: str) -> None:
        """Learn what a right call returned.

        Args:
            tool: its name.
            arguments_json: in canonical form.
            text: of the result.
        """
        self._calls[tool].add(arguments_json)
        self._returning[tool, _canonical(text)].add(arguments_json)

    def tells_apart(self, tool: str, arguments_json: str, text: str) -> bool:
        """Whether a result belongs to one request.

        It does if it holds something, at least ``MIN_OTHERS`` other right calls of the tool are
        known, and none of them returns it.
        """
        others = self._calls.get(tool, set()) - {arguments_json}
        alike = self._returning.get((tool, _canonical(text)), set()) - {arguments_json}
        return len(others) >= MIN_OTHERS and not alike and not _is_empty(_value(text))


def compare_results(
    pair: CallPair, gold: ToolResult, predicted: ToolResult, known: KnownResults
) -> Comparison:
    """Say whether the two calls of a pair came to the same.

    Args:
        pair: the calls.
        gold: the result of the right one.
        predicted: the result of the other.
        known: results of right calls.
    """
    if gold.status != "ok":
        return "failed"
    if predicted.status != "ok" or _canonical(gold.text) != _canonical(predicted.text):
        return "different"
    cut = gold.shown_chars is not None or predicted.shown_chars is not None
    if cut or not known.tells_apart(pair.tool, pair.gold_json, gold.text):
        return "indistinct"
    return "same"


def with_results(score: Score, found: Comparison) -> Score:
    """Return a score with what executing showed; the same result makes it correct."""
    if found != "same":
        return score.model_copy(update={"results": found})
    right = {"outcome": "correct", "decided_by": "results", "undecided": False}
    names = {"missing": (), "extra": (), "wrong": ()}
    return score.model_copy(update={"results": found, **right, **names})


def count_results(scores: Iterable[Score]) -> ResultCounts | None:
    """Count what executing has shown; None: nothing was executed."""
    counts: Counter[str] = Counter(score.results for score in scores if score.results)
    if not counts:
        return None
    return ResultCounts.model_validate(
        {name: counts.get(name, 0) for name in ResultCounts.model_fields}
    )


def _canonical(text: str) -> str:
    try:
        return canonical_json(from_json(text))
    except (ValueError, TypeError):
        return " ".join(text.split())


def _value(text: str) -> Any:
    """Return what a result says: its JSON, or its words."""
    try:
        return from_json(text)
    except ValueError:
        return " ".join(text.split())


def _is_empty(value: Any) -> bool:
    """Whether a result holds nothing but true, false, null, zeros and what is empty."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return all(map(_is_empty, value))
    if isinstance(value, str):
        return not value.strip()
    return value is None or isinstance(value, bool) or value == 0

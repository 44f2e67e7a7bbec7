"""Whether a call with other arguments came to the same, by what the tool returned.

Of a tool that only reads, the right call and the one that was made can both be executed. Equal
results make other arguments right, but only where the result tells one request from another: that
two numbers are both ``{"valid": true}`` says nothing about whether it was the right one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple

from pydantic_core import from_json

from ste_ray.core.effects import ToolResult
from ste_ray.core.records import Prediction, Record, Score, canonical_json

Comparison = Literal["same", "different", "indistinct", "failed"]

_EMPTY = frozenset({"", "null", "[]", "{}", '""', "false", "true"})


class CallPair(NamedTuple):
    """The right call of a tool, and one with other arguments; arguments as canonical JSON."""

    tool: str
    gold_json: str
    predicted_json: str


class ResultCounts(Record):
    """What executing wrong calls beside the right ones has shown, in one setting."""

    same: int  # the right result, which no other request has: they count as right
    different: int
    indistinct: int  # the right result, but other requests have it too, or there is nothing in it
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
        self._calls: dict[tuple[str, str], set[str]] = defaultdict(set)

    def add(self, tool: str, arguments_json: str, text: str) -> None:
        """Learn what a right call returned.

        Args:
            tool: its name.
            arguments_json: in canonical form.
            text: of the result.
        """
        self._calls[tool, _canonical(text)].add(arguments_json)

    def tells_apart(self, tool: str, arguments_json: str, text: str) -> bool:
        """Whether a result belongs to one request: no other right call is known to return it."""
        result = _canonical(text)
        others = self._calls.get((tool, result), set()) - {arguments_json}
        return result not in _EMPTY and not others


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

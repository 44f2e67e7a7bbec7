"""Scoring predictions by strict rules.

Where a call is right, its tool and arguments are compared. Where none is, whatever attempts one is
wrong, and the answer itself is not looked at.

What scores amount to is in ``ste_ray.core.scoring.summary``, the rules of the published study are
in ``ste_ray.core.scoring.study``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from ste_ray.core.inferring.reading import read_prediction
from ste_ray.core.records import Prediction, Score, canonical_json
from ste_ray.core.replies.markers import CALL_LABELS, find_markers
from ste_ray.core.replies.parsing import FinalAnswer, ParseFailure
from ste_ray.core.scoring.asking import ScorerVerdict
from ste_ray.core.scoring.comparing import compare_arguments
from ste_ray.core.scoring.equivalence import Pair
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import StageInputError

ASKED = "asks back"  # the detail of a reply that holds a question, where an argument is missing
REPEATED = "repeats a call that failed"  # the detail of such a call, where one was shown
_NO_CALL = frozenset({"empty", "no_action", "empty_answer"})


def score_prediction(prediction: Prediction, spec_by_name: Mapping[str, ToolSpec]) -> Score:
    """Decide the outcome of a prediction by rules.

    Args:
        prediction: the output of a model, with the right tool and arguments; without a tool, no
            call is right.
        spec_by_name: all registered tools; a call of another registered tool is ``wrong_tool``,
            of any other name ``unknown_tool``.

    Raises:
        StageInputError: the right tool is not registered, or its right arguments are no object.
    """
    if not prediction.needs_call:
        return _score_restraint(prediction, spec_by_name)
    spec = spec_by_name.get(prediction.tool)
    if spec is None:
        raise StageInputError(
            f"prediction {prediction.example_id!r} is of tool {prediction.tool!r}, which is not "
            "registered; give the tool files that its run was made with"
        )
    gold = _gold_arguments(prediction)
    if prediction.error:
        return _score(prediction, gold, outcome="error", detail=prediction.error)
    reply = read_prediction(prediction, spec_by_name)
    if isinstance(reply, FinalAnswer):
        return _score(prediction, gold, outcome="no_call", failure_kind="final_answer")
    if isinstance(reply, ParseFailure):
        return _score_failure(prediction, gold, reply)
    call = {"predicted_tool": reply.tool, "predicted_arguments_json": reply.arguments_json}
    if reply.tool != prediction.tool:
        return _score(prediction, gold, outcome="wrong_tool", **call)
    differences = compare_arguments(gold, reply.arguments, spec.parameters, _accepted(prediction))
    repeats = _repeats(prediction, reply.arguments_json)
    if not differences:
        return _score(prediction, gold, outcome="correct", **call)
    return _score(
        prediction,
        gold,
        outcome="wrong_arguments",
        missing=differences.missing,
        extra=differences.extra,
        wrong=differences.wrong,
        undecided=differences.undecided and not repeats,  # it is known to fail
        detail=REPEATED if repeats else "",
        **call,
    )


def _repeats(prediction: Prediction, arguments_json: str) -> bool:
    """Whether a call is one of those whose failure the prompt has shown."""
    return any(one.arguments_json == arguments_json for one in prediction.failed_calls)


def _score_restraint(prediction: Prediction, spec_by_name: Mapping[str, ToolSpec]) -> Score:
    """Decide whether a prediction leaves tools alone where no call is right."""
    if prediction.error:
        return _score(prediction, {}, outcome="error", detail=prediction.error)
    reply = read_prediction(prediction, spec_by_name)
    if isinstance(reply, FinalAnswer):
        return _restrained(prediction)
    if isinstance(reply, ParseFailure):
        return _score_no_answer(prediction, reply)
    return _score(
        prediction,
        {},
        outcome="needless_call",
        predicted_tool=reply.tool,
        predicted_arguments_json=reply.arguments_json,
    )


def _score_no_answer(prediction: Prediction, failure: ParseFailure) -> Score:
    found = {
        "predicted_tool": failure.tool,
        "failure_kind": failure.kind,
        "detail": failure.message,
    }
    if failure.kind == "unknown_tool":
        return _score(prediction, {}, outcome="needless_call", **found)
    if failure.kind in _NO_CALL and not _begins_a_call(prediction):
        return _restrained(prediction)
    return _score(prediction, {}, outcome="malformed", **found)


def _restrained(prediction: Prediction) -> Score:
    """Return the score of a reply without a call; of a value that is missing it may ask."""
    asks = prediction.kind == "missing_argument" and "?" in prediction.output_text
    return _score(prediction, {}, outcome="correct", detail=ASKED if asks else "")


def _begins_a_call(prediction: Prediction) -> bool:
    """Whether a text without a call has the mark of one: an action without a name or a tool."""
    if prediction.native:
        return False
    return any(marker.label in CALL_LABELS for marker in find_markers(prediction.output_text))


def undecided_pair(prediction: Prediction, score: Score) -> Pair | None:
    """Return what a judge would have to compare; None: the rules decide."""
    if not score.undecided:
        return None
    gold = canonical_json(_gold_arguments(prediction))
    return Pair(
        prediction.tool, prediction.query, gold, score.predicted_arguments_json, score.wrong
    )


def with_verdict(score: Score, verdict: ScorerVerdict, gates: bool) -> Score:
    """Return a score with what a judge says of it; it counts only if the judge may gate."""
    changes: dict[str, Any] = {
        "verdict": verdict.verdict,
        "verdict_reason": verdict.reason,
    }
    if gates:
        changes["decided_by"] = "judge"
        if verdict.verdict == "same":
            changes |= {"outcome": "correct", "wrong": ()}
    return score.model_copy(update=changes)


def _score_failure(prediction: Prediction, gold: dict[str, Any], failure: ParseFailure) -> Score:
    found = {"predicted_tool": failure.tool, "detail": failure.message}
    if failure.kind == "unknown_tool":
        return _score(prediction, gold, outcome="unknown_tool", **found)
    outcome = "no_call" if failure.kind in _NO_CALL else "malformed"
    return _score(prediction, gold, outcome=outcome, failure_kind=failure.kind, **found)


def _score(prediction: Prediction, gold: dict[str, Any], **fields: Any) -> Score:
    return Score(
        example_id=prediction.example_id,
        setting=prediction.setting,
        tool=prediction.tool,
        num_gold_arguments=len(gold),
        prompt_tokens=prediction.prompt_tokens,
        completion_tokens=prediction.completion_tokens,
        final_prompt_tokens=prediction.final_prompt_tokens,
        final_completion_tokens=prediction.final_completion_tokens,
        kind=prediction.kind,
        near_tool=prediction.near_tool,
        **fields,
    )


def _gold_arguments(prediction: Prediction) -> dict[str, Any]:
    try:
        gold = from_json(prediction.arguments_json)  # several times faster than the json module
    except ValueError:
        gold = None
    if not isinstance(gold, dict):
        raise StageInputError(
            f"prediction {prediction.example_id!r} has the right arguments "
            f"{prediction.arguments_json!r}, which must be a JSON object"
        )
    return gold


def _accepted(prediction: Prediction) -> dict[str, list[Any]]:
    if not prediction.accepted_json:
        return {}
    try:
        accepted = json.loads(prediction.accepted_json)
    except (ValueError, RecursionError):
        accepted = None
    if not isinstance(accepted, dict) or not all(isinstance(v, list) for v in accepted.values()):
        raise StageInputError(
            f"prediction {prediction.example_id!r} has the accepted values "
            f"{prediction.accepted_json!r}, which must be a JSON object of lists"
        )
    return accepted

"""Predictions to read: what is wrong with each, and a sample of them for the report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ste_ray.core.inferring.reading import as_text
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.summary import OUTCOMES
from ste_ray.core.texts.cutting import cut_text
from ste_ray.report.kinds import KIND_LABELS
from ste_ray.report.sampling import spread_over_tools
from ste_ray.report.view import View

MAX_EXAMPLES = 90
MAX_CHARS = 2000
OUTCOME_LABELS = {
    "correct": "correct",
    "wrong_arguments": "wrong arguments",
    "wrong_tool": "wrong tool",
    "unknown_tool": "unknown tool",
    "malformed": "malformed call",
    "no_call": "no call",
    "error": "inference error",
    "needless_call": "needless call",
}
NO_TOOL_LABEL = "no tool"  # in the place of the right tool, where no call is right
# What an outcome adds to the reader's understanding: failures near to success come first.
_READING_ORDER = (
    "needless_call",
    *(outcome for outcome in OUTCOMES if outcome != "correct"),
    "correct",
)


class PredictionView(View):
    """One scored prediction to read."""

    setting: str
    outcome: str
    tool: str  # empty: no call is right
    query: str
    gold_arguments: str
    predicted_tool: str
    predicted_arguments: str
    problem: str
    output_text: str
    observation: str = ""  # where the call was executed
    final_answer: str = ""
    reasoning: str = ""  # before the output
    kind: str = ""  # of the request; empty: explicit
    failed_calls: tuple[tuple[str, str], ...] = ()  # arguments, and what came back, in the prompt


def describe_failure(score: Score) -> str:
    """Return in a few words what is wrong with a prediction; empty when it is correct."""
    if score.outcome == "wrong_arguments":
        parts = [
            f"{kind}: {', '.join(names)}"
            for kind, names in (
                ("missing", score.missing),
                ("extra", score.extra),
                ("wrong", score.wrong),
            )
            if names
        ]
        return "; ".join(parts) or "wrong arguments"
    if score.outcome in ("wrong_tool", "unknown_tool", "needless_call"):
        kind = OUTCOME_LABELS[score.outcome]
        return f"{kind}: {score.predicted_tool}" if score.predicted_tool else kind
    return "" if score.outcome == "correct" else OUTCOME_LABELS[score.outcome]


def sample_predictions(
    settings: Sequence[str], scores: Iterable[Score], predictions: Iterable[Prediction]
) -> tuple[PredictionView, ...]:
    """Return predictions to read: last setting first, its outcomes evenly, failures first.

    Within an outcome, tools take turns, and ids (hashes) decide which of a tool's come first.
    """
    groups: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for score in scores:
        groups[score.setting, score.outcome].append(score)
    per_group = _fair_size([len(group) for group in groups.values()], MAX_EXAMPLES)
    chosen = [
        score
        for setting in reversed(settings)
        for outcome in _READING_ORDER
        for score in spread_over_tools(groups[setting, outcome], lambda one: one.example_id)[
            :per_group
        ]
    ]
    wanted = {(score.setting, score.example_id) for score in chosen}
    found = {
        (one.setting, one.example_id): one
        for one in predictions
        if (one.setting, one.example_id) in wanted
    }
    pairs = [(score, found.get((score.setting, score.example_id))) for score in chosen]
    return tuple(view_prediction(score, one) for score, one in pairs if one is not None)


def _fair_size(sizes: Sequence[int], limit: int) -> int:
    """Return how many of each group fit into ``limit`` when small groups leave room to others."""
    size = 0
    while size < limit and sum(min(one, size + 1) for one in sizes) <= limit:
        size += 1
    return size


def view_prediction(
    score: Score, prediction: Prediction, max_chars: int = MAX_CHARS
) -> PredictionView:
    """Return a scored prediction to read, its texts cut to ``max_chars``."""
    details = [describe_failure(score)] if score.outcome == "wrong_arguments" else []
    if score.verdict:
        details.append(f"the judge says {score.verdict}: {score.verdict_reason}".rstrip(": "))
    if score.answer_verdict:
        said = f"the judge calls the final answer {score.answer_verdict}: {score.answer_reason}"
        details.append(said.rstrip(": "))
    if score.detail:
        details.append(score.detail)
    if prediction.output_cut:
        details.append("the output was cut at infer.max_new_tokens")
    if prediction.final_cut:
        details.append("the final answer was cut at infer.max_new_tokens")
    if prediction.final_error:
        details.append(f"no final answer: {prediction.final_error}")
    return PredictionView(
        setting=score.setting,
        outcome=score.outcome,
        tool=score.tool,
        query=cut_text(prediction.query, max_chars),
        gold_arguments=cut_text(prediction.arguments_json, max_chars),
        predicted_tool=cut_text(score.predicted_tool, 200),
        predicted_arguments=cut_text(score.predicted_arguments_json, max_chars),
        problem=cut_text("; ".join(details), max_chars),
        output_text=cut_text(as_text(prediction), max_chars),
        observation=cut_text(prediction.observation, max_chars),
        final_answer=cut_text(prediction.final_answer, max_chars),
        reasoning=cut_text(prediction.reasoning, max_chars),
        kind="" if score.kind == "explicit" else KIND_LABELS[score.kind].lower(),
        failed_calls=tuple(
            (cut_text(one.arguments_json, max_chars), cut_text(one.observation, max_chars))
            for one in prediction.failed_calls
        ),
    )

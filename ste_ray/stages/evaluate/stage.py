"""The evaluate stage: Ray tasks score the predictions of all settings.

Input: ``infer/predictions``, ``infer/variants`` (requests asked anew) and ``prepare/examples``
where there are. Output: ``evaluate/scores`` and ``evaluate/variants`` (one part for each part of
predictions), ``evaluate/undecided.jsonl`` (pairs of which no rule can
tell whether they are the same), ``evaluate/judge.json`` where a judge is asked, and
``evaluate/summary.json`` (figures of each setting, every setting compared with every other). The
report follows once the manifest is written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.answer_judging import case_of, plant, with_answer_verdict
from ste_ray.core.scoring.answers import AnswerFigures, score_answer
from ste_ray.core.scoring.equivalence import Pair
from ste_ray.core.scoring.evaluation import EvaluationSummary, summarise_evaluation
from ste_ray.core.scoring.results import pair_to_execute, with_results
from ste_ray.core.scoring.scores import score_prediction, undecided_pair, with_verdict
from ste_ray.core.scoring.statistics import NUM_RESAMPLES, Proportion
from ste_ray.core.scoring.summary import METRICS, Summary
from ste_ray.core.scoring.unseen import Unseen
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import StageInputError
from ste_ray.stages.base import StageContext
from ste_ray.stages.evaluate.executing import execute_pairs
from ste_ray.stages.evaluate.judging import ask_scorer
from ste_ray.stages.evaluate.labels import write_undecided
from ste_ray.stages.evaluate.parts import (
    calls_to_execute,
    change_scores,
    final_answers,
    score_all,
    still_undecided,
)
from ste_ray.stages.evaluate.unseen import find_unseen
from ste_ray.stages.evaluate.variants import (
    VariantScores,
    mean_left_out,
    seed_of_answers,
)
from ste_ray.store.tables import (
    read_records,
)


def run(context: StageContext) -> dict[str, Any]:
    """Score and summarise; see the module's docstring.

    Raises:
        StageInputError: there are no predictions of a setting, or they cannot be scored.
    """
    store, config = context.store, context.config
    undecided = score_all(store, context.specs, seed_of_answers(store, config.seed))
    if config.evaluate.execute:
        undecided = _execute(context)
    write_undecided(context, dict.fromkeys(undecided))
    spent = _judge(context, undecided) if config.evaluate.judge.enabled else {}
    scores = read_records(store, layout.SCORES, Score)
    by_setting = _by_setting(scores, config.infer.settings)
    num_predictions = sum(map(len, by_setting.values()))
    context.progress(f"evaluate: {num_predictions} predictions scored, now summarising")
    summary = summarise_settings(
        by_setting,
        config.seed,
        unseen=find_unseen(context),
        variants=VariantScores(store),
        num_left_out=partial(mean_left_out, store),
    )
    store.write_json(layout.EVALUATION_SUMMARY, summary.model_dump(mode="json"))
    return {
        "predictions": num_predictions,
        "settings": {one.setting: _headline(one, summary) for one in summary.settings},
        **({"spent": spent} if spent else {}),
        "report": layout.REPORT,  # which ``run_stage`` writes once the manifest is there
    }


def score_predictions(
    predictions: Iterable[Prediction], specs: Mapping[str, ToolSpec], config: Config
) -> EvaluationSummary:
    """Score predictions that belong to no run by the strict rules, and summarise them.

    Raises:
        StageInputError: a prediction is of an unknown tool, or settings differ in their queries.
    """
    by_setting: dict[str, list[Score]] = {}
    for prediction in predictions:
        score = score_prediction(prediction, specs)
        answer = score_answer(prediction, score.predicted_arguments_json)
        score = score.model_copy(update={"answer": answer})
        by_setting.setdefault(score.setting, []).append(score)
    return summarise_settings(by_setting, config.seed)


def _execute(context: StageContext) -> list[Pair]:
    """Add to the scores what executing wrong calls shows; return what is left undecided."""
    found = execute_pairs(context, calls_to_execute(context.store))

    def compared(prediction: Prediction, score: Score) -> Score:
        pair = pair_to_execute(prediction, score)
        return with_results(score, found[pair]) if pair in found else score

    if found:
        change_scores(context.store, compared)
    return still_undecided(context.store)


def _judge(context: StageContext, undecided: Sequence[Pair]) -> dict[str, Any]:
    """Add the scorer's verdicts to the scores; return what it took."""
    answers = final_answers(context.store, context.specs)
    found = ask_scorer(
        context, list(dict.fromkeys(undecided)), answers.undecided, plant(answers.supported)
    )
    of_answers = found.report.answers

    def judged(prediction: Prediction, score: Score) -> Score:
        pair = undecided_pair(prediction, score)
        if pair is not None:
            score = with_verdict(score, found.pairs[pair], found.report.gates)
        verdict = found.answers.get(case_of(prediction, score))
        if score.answer == "undecided" and verdict is not None and of_answers is not None:
            score = with_answer_verdict(score, verdict, of_answers.gates)
        return score

    if undecided or answers.undecided:
        change_scores(context.store, judged)
    return found.spent


def _by_setting(scores: Iterable[Score], settings: Sequence[str]) -> dict[str, list[Score]]:
    """Return the scores of each setting, in the order in which settings were asked for.

    Raises:
        StageInputError: a setting has no predictions.
    """
    found: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        found[score.setting].append(score)
    for setting in settings:
        if setting not in found:
            raise StageInputError(
                f"setting {setting!r} has no predictions{did_you_mean(setting, found)}, only "
                f"{', '.join(sorted(found))} have; "
                "run 'ste-ray infer' with the same settings, or give infer.settings those it ran"
            )
    others = sorted(found.keys() - set(settings))
    return {setting: found[setting] for setting in (*dict.fromkeys(settings), *others)}


def summarise_settings(
    by_setting: Mapping[str, Sequence[Score]],
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    unseen: Unseen | None = None,
    variants: Mapping[str, Sequence[Score]] | None = None,
    num_left_out: Callable[[str], float] = lambda name: 0.0,
) -> EvaluationSummary:
    """Return the figures of each setting, and every setting compared with every other.

    Args:
        by_setting: the scores of each setting.
        seed: of the bootstrap.
        num_resamples: of the bootstrap.
        unseen: which of the test queries are unseen in training, if that is known.
        variants: the scores of variants of these settings, by name.
        num_left_out: tells of a variant how many tools a request had left out, in the mean.

    Raises:
        StageInputError: settings differ in their test queries, or hold one twice.
    """
    try:
        return summarise_evaluation(
            list(by_setting.values()),
            seed=seed,
            num_resamples=num_resamples,
            unseen=unseen,
            variants=variants,
            num_left_out=num_left_out,
        )
    except ValueError as error:
        raise StageInputError(f"the predictions cannot be compared: {error}") from error


def _headline(summary: Summary, whole: EvaluationSummary) -> dict[str, Any]:
    shares: dict[str, Proportion] = {name: getattr(summary.overall, name) for name in METRICS}
    shares["correct_with_arguments"] = summary.with_arguments.correct
    if summary.unseen is not None:
        shares["correct_unseen"] = summary.unseen.correct
    rounded: dict[str, Any] = {
        name: None if one.share is None else round(one.share, 4) for name, one in shares.items()
    }
    if summary.macro is not None:
        rounded["tool_match_macro"] = round(summary.macro.tool_match.share, 4)
        rounded["correct_macro"] = round(summary.macro.correct.share, 4)
    if summary.answers is not None:
        rounded["answers"] = _answers(summary.answers)
    restraint = summary.restraint
    if restraint is not None:
        needless = restraint.needless_calls.share
        rounded["needless_calls"] = None if needless is None else round(needless, 4)
        rounded["no_call_tests"] = restraint.n
    if summary.kinds:
        rounded["kinds"] = {
            one.kind: None if one.right.share is None else round(one.right.share, 4)
            for one in summary.kinds
        }
    for one in whole.tokens.settings if whole.tokens is not None else ():
        if one.setting == summary.setting:
            rounded["prompt_tokens"] = round(one.prompt.mean, 1)
            rounded["reply_tokens"] = round(one.reply.mean, 1)
    for again in whole.repeats:
        if again.setting == summary.setting and again.calls is not None:
            rounded["correct_at_least_once"] = round(again.calls.at_least_once[-1].share, 4)
            rounded["correct_always"] = round(again.calls.always[-1].share, 4)
            rounded["flipping"] = round(again.calls.flipping.share, 4)
    return {"n": summary.overall.n, **rounded}


def _answers(figures: AnswerFigures) -> dict[str, Any]:
    share = figures.supported.share
    return {
        "n": figures.n,
        "supported": None if share is None else round(share, 4),
        "by_rules": figures.num_by_rules,
        "by_judge": figures.num_by_judge,
        "undecided": figures.counts["undecided"],
    }

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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import ray

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.answers import score_answer
from ste_ray.core.scoring.columns import NEEDED, ColumnScorer, undecided_pairs
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
from ste_ray.stages.evaluate.judging import judge_pairs, write_undecided
from ste_ray.stages.evaluate.unseen import find_unseen
from ste_ray.stages.evaluate.variants import (
    VariantScores,
    known_specs,
    mean_left_out,
    renames,
    seed_of_answers,
    under_own_names,
)
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import (
    from_table,
    iter_records,
    iter_tables,
    parquet_files,
    read_records,
    table_of,
    to_table,
    values_in,
    write_records,
    write_tables,
)


def run(context: StageContext) -> dict[str, Any]:
    """Score and summarise; see the module's docstring.

    Raises:
        StageInputError: there are no predictions of a setting, or they cannot be scored.
    """
    store, config = context.store, context.config
    undecided = _score_all(store, context.specs, seed_of_answers(store, config.seed))
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


def _score_all(store: RunStore, specs: Mapping[str, ToolSpec], seed: int) -> list[Pair]:
    """Score every part of the predictions in a task of its own; return what no rule decides."""
    parts = _parts(store)
    shared = ray.put(dict(specs))
    task = ray.remote(score_part)
    found = ray.get([task.remote(store, part, shared, seed) for part in parts])
    return [pair for pairs in found for pair in pairs]


def _parts(store: RunStore) -> list[str]:
    parts = parquet_files(store, layout.PREDICTIONS)
    if not parts:
        raise StageInputError(
            f"there are no predictions at {store.address(layout.PREDICTIONS)!r}; "
            "run 'ste-ray infer' first"
        )
    return [*parts, *parquet_files(store, layout.VARIANTS)]


def score_part(
    store: RunStore, part: str, specs: Mapping[str, ToolSpec], seed: int = 0
) -> list[Pair]:
    """Score one file of predictions and return what no rule decides.

    Safe to run twice: the same predictions give the same file.

    Args:
        store: the run.
        part: the file.
        specs: the tools of the run.
        seed: with which parameters were renamed in prompts, where they were.

    Raises:
        StageInputError: the file is damaged, or a prediction has no right call or an unknown tool.
    """
    pairs: list[Pair] = []
    scorer, source = ColumnScorer(known_specs(store, part, specs)), store.address(part)

    def scores() -> Iterator[pa.Table]:
        for table in iter_tables(store, part, Prediction):
            if renames(part):
                own = under_own_names(from_table(table, Prediction, source), specs, seed)
                table = to_table(list(own), Prediction)
            columns = values_in(table, NEEDED, Prediction)
            scored = scorer.score(columns, partial(_records, table, source))
            scored["answer"] = _answers(table, source, scored)
            pairs.extend(undecided_pairs(columns, scored))
            yield table_of(scored, Score)

    write_tables(store, layout.scores_of(part), scores(), Score)
    return pairs


def _answers(table: pa.Table, source: str, scored: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return what final answers are worth, a row a prediction; most tables hold none."""
    (statuses,) = values_in(table, ["observation_status"], Prediction).values()
    answers = [""] * len(statuses)
    executed = [row for row, status in enumerate(statuses) if status == "ok"]
    for row, one in zip(executed, _records(table, source, executed), strict=True):
        answers[row] = score_answer(one, scored["predicted_arguments_json"][row])
    return answers


def _records(table: pa.Table, source: str, rows: list[int]) -> list[Prediction]:
    """Return the predictions at some rows of a table."""
    try:
        # With its type: of an empty list Arrow cannot tell it.
        return from_table(table.take(pa.array(rows, pa.int64())), Prediction, source)
    except StageInputError:
        from_table(table, Prediction, source)  # which names the row by its place in the table
        raise


def _execute(context: StageContext) -> list[Pair]:
    """Add to the scores what executing wrong calls shows; return what is left undecided."""
    store = context.store
    pairs = [
        pair
        for part in _parts(store)
        for prediction, score in _scored(store, part)
        if (pair := pair_to_execute(prediction, score)) is not None
    ]
    found = execute_pairs(context, pairs)

    def changed(prediction: Prediction, score: Score) -> Score:
        pair = pair_to_execute(prediction, score)
        return with_results(score, found[pair]) if pair in found else score

    undecided: list[Pair] = []
    for part in _parts(store):
        scores = [changed(prediction, score) for prediction, score in _scored(store, part)]
        if found:
            write_records(store, layout.scores_of(part), scores, Score)
        predictions = iter_records(store, part, Prediction)
        left = map(undecided_pair, predictions, scores)
        undecided += [pair for pair in left if pair is not None]
    return undecided


def _scored(store: RunStore, part: str) -> Iterator[tuple[Prediction, Score]]:
    """Yield the predictions of a part with their scores."""
    scores = iter_records(store, layout.scores_of(part), Score)
    yield from zip(iter_records(store, part, Prediction), scores, strict=True)


def _judge(context: StageContext, undecided: Sequence[Pair]) -> dict[str, Any]:
    """Add the scorer's verdicts to the scores; return what it took."""
    store = context.store
    verdicts, report, spent = judge_pairs(context, list(dict.fromkeys(undecided)))
    for part in _parts(store) if undecided else ():
        changed = []
        for prediction, score in _scored(store, part):
            pair = undecided_pair(prediction, score)
            changed.append(
                with_verdict(score, verdicts[pair], report.gates) if pair is not None else score
            )
        write_records(store, layout.scores_of(part), changed, Score)
    return spent


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

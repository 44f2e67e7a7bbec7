"""The evaluate stage: Ray tasks score the predictions of all settings; then the report is written.

Inputs: ``infer/predictions``, and whatever the run holds for the report. Output:
``evaluate/scores`` (one part for each part of predictions), ``evaluate/summary.json`` (figures of
each setting, the last one compared with the first) and ``report.html`` at the run's root.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ray

from ste_ray import __version__
from ste_ray.config import EvaluateConfig
from ste_ray.core.records import Prediction, Score, ToolSpec
from ste_ray.core.scoring import METRICS, Summary, compare_settings, score_prediction, summarise
from ste_ray.core.statistics import Proportion
from ste_ray.errors import StageInputError
from ste_ray.report.model import Difference, EvaluationSummary
from ste_ray.stages.base import StageContext
from ste_ray.stages.reporting import REPORT_PATH, write_report
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import iter_records, read_records, write_records

PREDICTIONS_PATH = "infer/predictions"
SCORES_PATH = "evaluate/scores"
SUMMARY_PATH = "evaluate/summary.json"


def run(context: StageContext) -> dict[str, Any]:
    """Score, summarise and report; see the module's docstring.

    Raises:
        StageInputError: there are no predictions of a setting, or they cannot be scored.
    """
    started_at, begun = time.time(), time.monotonic()
    store, config = context.store, context.config
    by_setting = _by_setting(_score_all(store, context.specs), config.infer.settings)
    num_predictions = sum(map(len, by_setting.values()))
    context.progress(f"evaluate: {num_predictions} predictions scored, now summarising")
    summary = summarise_settings(by_setting, config.evaluate, config.seed)
    store.write_json(SUMMARY_PATH, summary.model_dump(mode="json"))
    counts: dict[str, Any] = {
        "predictions": num_predictions,
        "settings": {one.setting: _headline(one) for one in summary.settings},
    }
    # The manifest is written after this body; the report shows what it will say.
    own = {
        "config": config.stage_fields("evaluate"),
        "config_fingerprint": config.stage_fingerprint("evaluate"),
        "code_version": __version__,
        "started_at": started_at,
        "seconds": round(time.monotonic() - begun, 3),
        "seed": config.seed,
        "counts": counts,
        "notes": list(context.notes),
    }
    write_report(store, unfinished={"evaluate": own})
    context.progress(f"evaluate: the report is {store.address(REPORT_PATH)}")
    return {**counts, "report": REPORT_PATH}


def _score_all(store: RunStore, specs: Mapping[str, ToolSpec]) -> list[Score]:
    """Score every part of the predictions in a task of its own, and return all scores."""
    parts = [name for name in store.list(PREDICTIONS_PATH) if name.endswith(".parquet")]
    if not parts:
        raise StageInputError(
            f"there are no predictions at {store.address(PREDICTIONS_PATH)!r}; "
            "run 'ste-ray infer' first"
        )
    shared = ray.put(dict(specs))
    task = ray.remote(score_part)
    ray.get([task.remote(store, part, shared) for part in parts])
    return read_records(store, SCORES_PATH, Score)


def score_part(store: RunStore, part: str, specs: Mapping[str, ToolSpec]) -> str:
    """Score one file of predictions and return the path of its scores.

    Safe to run twice: the same predictions give the same file.

    Raises:
        StageInputError: the file is damaged, or a prediction has no right call or an unknown tool.
    """
    predictions = iter_records(store, part, Prediction)
    path = f"{SCORES_PATH}{part.removeprefix(PREDICTIONS_PATH)}"
    write_records(store, path, (score_prediction(one, specs) for one in predictions), Score)
    return path


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
                f"setting {setting!r} has no predictions, only {', '.join(sorted(found))} have; "
                "run 'ste-ray infer' with the same settings, or give infer.settings those it ran"
            )
    others = sorted(found.keys() - set(settings))
    return {setting: found[setting] for setting in (*dict.fromkeys(settings), *others)}


def summarise_settings(
    by_setting: Mapping[str, Sequence[Score]], config: EvaluateConfig, seed: int
) -> EvaluationSummary:
    """Return the figures of each setting, and the last setting compared with the first.

    Raises:
        StageInputError: settings differ in their test queries, or hold one twice.
    """
    options: dict[str, Any] = {
        "seed": seed,
        "num_resamples": config.num_bootstrap,
        "confidence": config.confidence,
    }
    groups = list(by_setting.values())
    compared = METRICS if len(groups) > 1 else ()
    try:
        return EvaluationSummary(
            settings=tuple(summarise(scores, **options) for scores in groups),
            differences=tuple(
                Difference(
                    metric=metric,
                    comparison=compare_settings(groups[0], groups[-1], metric, **options),
                )
                for metric in compared
            ),
        )
    except ValueError as error:
        raise StageInputError(f"the predictions cannot be compared: {error}") from error


def _headline(summary: Summary) -> dict[str, Any]:
    shares: dict[str, Proportion] = {name: getattr(summary.overall, name) for name in METRICS}
    shares["correct_with_arguments"] = summary.with_arguments.correct
    rounded = {
        name: None if one.share is None else round(one.share, 4) for name, one in shares.items()
    }
    return {"n": summary.overall.n, **rounded}

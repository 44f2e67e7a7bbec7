"""Puts a run's artifacts together into what the report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ste_ray import __version__
from ste_ray.core import layout
from ste_ray.core.records import Episode, Judgment, LedgerEntry, Prediction, Score
from ste_ray.core.stages import STAGES
from ste_ray.report.continual import view_continual
from ste_ray.report.evaluation import view_evaluation, view_judge
from ste_ray.report.exploration import view_exploration
from ste_ray.report.ledger import view_ledger
from ste_ray.report.model import ReportData
from ste_ray.report.overview import utc_time, view_notices, view_stage
from ste_ray.report.reading import RunReader
from ste_ray.report.training import view_training
from ste_ray.report.trials import sample_trials

# The continual stage is shown where it has run; the others always.
_STAGES = (*STAGES, "continual")


def assemble_report(reader: RunReader, now: float) -> ReportData:
    """Read whatever a run holds; parts whose stage has not run stay empty.

    Args:
        reader: reads the run.
        now: the time of the report, in seconds since 1970.
    """
    manifests = _manifests(reader)
    episodes = reader.records(layout.EPISODES, Episode)
    judgments = reader.records(layout.JUDGMENTS, Judgment)
    entries = reader.records(layout.LEDGER, LedgerEntry)
    ledger = view_ledger(reader.json(layout.LEDGER_TOTALS))
    return ReportData(
        run=reader.uri,
        created_at=utc_time(now),
        version=__version__,
        notices=view_notices(manifests, _models(episodes, judgments), ledger),
        stages=tuple(
            view_stage(stage, manifests.get(stage))
            for stage in _STAGES
            if stage in STAGES or stage in manifests
        ),
        evaluation=view_evaluation(
            reader.json(layout.EVALUATION_SUMMARY),
            reader.records(layout.SCORES, Score),
            reader.records(layout.PREDICTIONS, Prediction),
        ),
        exploration=view_exploration(episodes),
        ledger=ledger,
        training=view_training(reader.json(layout.TRAIN_METRICS)),
        continual=view_continual(reader.json(layout.CONTINUAL_SUMMARY)),
        judge=view_judge(reader.json(layout.JUDGE_REPORT)),
        trials=sample_trials(episodes, judgments, entries),
        trials_total=sum(len(episode.trials) for episode in episodes),
    )


def _manifests(reader: RunReader) -> dict[str, Mapping[str, Any]]:
    read = {stage: reader.manifest(stage) for stage in _STAGES}
    return {stage: manifest for stage, manifest in read.items() if manifest is not None}


def _models(episodes: Sequence[Episode], judgments: Sequence[Judgment]) -> set[str]:
    explorers = {model for episode in episodes for model in episode.models}
    return explorers | {judgment.model for judgment in judgments if judgment.model}

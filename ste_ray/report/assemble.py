"""Puts a run's artifacts together into what the report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ste_ray import __version__
from ste_ray.core import layout
from ste_ray.core.records import Episode, Judgment, LedgerEntry, Prediction, Score
from ste_ray.core.scoring.agreement import JudgeReport
from ste_ray.core.stages import STAGES
from ste_ray.core.test_making.totals import TestTotals
from ste_ray.report.continual import ContinualView, view_continual
from ste_ray.report.evaluation import EvaluationView, view_evaluation
from ste_ray.report.exchanges import Exchanges, trained_exchanges
from ste_ray.report.exploration import ExplorationView, view_exploration
from ste_ray.report.ledger import LedgerView, view_ledger
from ste_ray.report.overview import Notice, StageView, utc_time, view_notices, view_stage
from ste_ray.report.plan import view_coverage, view_plan
from ste_ray.report.reading import RunReader
from ste_ray.report.training import TrainingView, view_training
from ste_ray.report.trials import TrialView, sample_trials
from ste_ray.report.updating import UpdateView, view_update
from ste_ray.report.view import View

# The continual stage is shown where it has run; the others always.
_STAGES = (*STAGES, "continual")


class ReportData(View):
    """Everything the report shows about one run."""

    run: str
    created_at: str
    version: str
    notices: tuple[Notice, ...]
    stages: tuple[StageView, ...]
    evaluation: EvaluationView | None = None
    exchanges: Exchanges | None = None
    exploration: ExplorationView | None = None
    ledger: LedgerView | None = None
    training: TrainingView | None = None
    continual: ContinualView | None = None
    update: UpdateView | None = None
    made_tests: TestTotals | None = None
    judge: JudgeReport | None = None
    trials: tuple[TrialView, ...] = ()
    trials_total: int = 0

    @property
    def run_name(self) -> str:
        """The last part of the run's address."""
        return self.run.rstrip("/").rpartition("/")[2] or self.run


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
    judge = reader.json(layout.JUDGE_REPORT)
    made_tests = reader.json(layout.TEST_TOTALS)
    scores = reader.records(layout.SCORES, Score)
    predictions = reader.records(layout.PREDICTIONS, Prediction)
    ledger = view_ledger(reader.json(layout.LEDGER_TOTALS))
    return ReportData(
        run=reader.uri,
        created_at=utc_time(now),
        version=__version__,
        notices=view_notices(
            manifests,
            _reported_models(episodes, judgments),
            ledger,
            reader.json(layout.DEMO_MODEL),
        ),
        stages=tuple(
            view_stage(stage, manifests.get(stage))
            for stage in _STAGES
            if stage in STAGES or stage in manifests
        ),
        evaluation=view_evaluation(reader.json(layout.EVALUATION_SUMMARY), scores, predictions),
        exchanges=trained_exchanges(manifests, predictions, scores),
        exploration=view_exploration(episodes, view_coverage(reader, episodes), view_plan(reader)),
        ledger=ledger,
        training=view_training(
            reader.json(layout.TRAIN_METRICS), reader.json(layout.TRAIN_SUMMARY)
        ),
        continual=view_continual(reader.json(layout.CONTINUAL_SUMMARY)),
        update=view_update(reader.json(layout.UPDATE_SUMMARY)),
        made_tests=None if made_tests is None else TestTotals.model_validate(made_tests),
        judge=None if judge is None else JudgeReport.model_validate(judge),
        trials=sample_trials(episodes, judgments, entries),
        trials_total=sum(len(episode.trials) for episode in episodes),
    )


def _manifests(reader: RunReader) -> dict[str, Mapping[str, Any]]:
    read = {stage: reader.manifest(stage) for stage in _STAGES}
    return {stage: manifest for stage, manifest in read.items() if manifest is not None}


def _reported_models(
    episodes: Sequence[Episode], judgments: Sequence[Judgment]
) -> dict[str, set[str]]:
    return {
        "explorer": {model for episode in episodes for model in episode.models},
        "judge": {judgment.model for judgment in judgments},
    }

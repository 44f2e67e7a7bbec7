"""Rounds of tools: what each knows of each batch, beside what the published study measured.

The study's figures: Wang et al., 2024 (arXiv 2403.04746), table on continual learning; shares of
correct calls after the last round, on its four batches of 12 or 13 tools and on all of them.
"""

from __future__ import annotations

from typing import Any

from ste_ray.core.scoring.continual import ContinualSummary, VariantSummary
from ste_ray.core.scoring.statistics import PairedComparison, Proportion
from ste_ray.core.scoring.summary import Figures, Metric
from ste_ray.report.view import View


class HeatRow(View):
    """A round: its figures on each batch, then on all of them; None: not arrived yet."""

    number: int
    cells: tuple[Proportion | None, ...]
    general: float | None  # loss on general examples
    general_rows: int
    needless: Proportion | None = None  # calls where none is right


class HeatMap(View):
    """Batches by rounds, in one variant."""

    variant: str
    metric: Metric
    rows: tuple[HeatRow, ...]

    @property
    def tests_restraint(self) -> bool:
        """Whether requests that need no call were asked."""
        return any(row.needless is not None for row in self.rows)


class VariantRow(View):
    """What the rounds of a variant amount to."""

    variant: str
    together: Figures  # after the last round, on all batches
    mean_backward: float | None
    mean_forgetting: float | None
    mean_learning: float | None


class TransferRow(View):
    """What became of a batch from its own round to the last."""

    variant: str
    batch: int
    forgetting: float
    comparison: PairedComparison


class StudyRow(View):
    """Shares that the published study measured after its last round."""

    variant: str
    batches: tuple[float, ...]
    together: float


class ContinualView(View):
    """Rounds of tools, trained one after the other."""

    setting: str
    batches: tuple[tuple[str, ...], ...]
    replay_fraction: float
    maps: tuple[HeatMap, ...]
    variants: tuple[VariantRow, ...]
    transfers: tuple[TransferRow, ...]
    study: tuple[StudyRow, ...]


VARIANT_LABELS = {
    "replay": "with replay",
    "no_replay": "without replay",
    "joint": "all at once",
}
STUDY_ROWS = (
    StudyRow(variant="with replay", batches=(0.650, 0.887, 0.661, 0.703), together=0.728),
    StudyRow(variant="without replay", batches=(0.000, 0.385, 0.250, 0.718), together=0.347),
    StudyRow(variant="all at once", batches=(0.733, 0.872, 0.683, 0.672), together=0.741),
)
_SHOWN_METRICS: tuple[Metric, ...] = ("correct", "tool_match")


def view_continual(summary_json: Any) -> ContinualView | None:
    """Show ``continual/summary.json``; None: the stage has not run."""
    if summary_json is None:
        return None
    summary = ContinualSummary.model_validate(summary_json)
    return ContinualView(
        setting=summary.setting,
        batches=summary.batches,
        replay_fraction=summary.replay_fraction,
        maps=tuple(
            _heat_map(summary, one, metric) for one in summary.variants for metric in _SHOWN_METRICS
        ),
        variants=tuple(_variant(one) for one in summary.variants),
        transfers=tuple(row for one in summary.variants for row in _transfers(one)),
        study=STUDY_ROWS,
    )


def _heat_map(summary: ContinualSummary, variant: VariantSummary, metric: Metric) -> HeatMap:
    batches: list[int | None] = [*range(len(summary.batches)), None]
    rows = []
    for result in variant.rounds:
        by_batch = {one.batch: getattr(one.figures, metric) for one in result.batches}
        rows.append(
            HeatRow(
                number=result.number,
                cells=tuple(by_batch.get(batch) for batch in batches),
                general=None if result.general is None else result.general.loss,
                general_rows=0 if result.general is None else result.general.rows,
                needless=None if result.restraint is None else result.restraint.needless_calls,
            )
        )
    return HeatMap(variant=VARIANT_LABELS[variant.variant], metric=metric, rows=tuple(rows))


def _variant(summary: VariantSummary) -> VariantRow:
    last = summary.rounds[-1]
    return VariantRow(
        variant=VARIANT_LABELS[summary.variant],
        together=last.batches[-1].figures,
        mean_backward=summary.mean_backward,
        mean_forgetting=summary.mean_forgetting,
        mean_learning=summary.mean_learning,
    )


def _transfers(summary: VariantSummary) -> list[TransferRow]:
    return [
        TransferRow(
            variant=VARIANT_LABELS[summary.variant],
            batch=one.batch,
            forgetting=one.forgetting,
            comparison=one.backward,
        )
        for one in summary.transfers
    ]

"""General ability before and after a training, by the rows of general data that it holds out.

The loss before is measured once and kept in the run, so that a training that goes on from a
checkpoint, whose weights are those of the base model no more, tells the one it began with.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from ste_ray.core import layout
from ste_ray.core.scoring.general_ability import GeneralAbility
from ste_ray.ports import RunFiles
from ste_ray.training.batches import StepBatch
from ste_ray.training.distributed import from_rank_0, rank


class GeneralCheck:
    """Measures the loss on held-out general rows; all ranks make the same calls.

    Args:
        files: the run.
        fingerprint: of what is trained; the loss that another training began with is not taken.
        rows: this rank's share.
    """

    def __init__(self, files: RunFiles, fingerprint: str, rows: StepBatch) -> None:
        self._files = files
        self._fingerprint = fingerprint
        self._rows = rows
        self._before: float | None = None

    def measure_before(self, loss: Callable[[StepBatch], float]) -> None:
        """Take what the run holds, or ``loss`` of the rows: call it while the model is the base."""
        self._before = from_rank_0(self._kept() if rank() == 0 else None)
        if self._before is None:
            self._before = loss(self._rows)
            if rank() == 0:
                kept = {"fingerprint": self._fingerprint, "loss": self._before}
                self._files.write_json(layout.GENERAL_BEFORE, kept)

    def measure_after(self, loss: Callable[[StepBatch], float]) -> GeneralAbility:
        """Return both figures; ``measure_before`` comes first."""
        assert self._before is not None
        rows, labels = len(self._rows.row_ids), self._rows.label_tokens
        return GeneralAbility.of(rows, labels, self._before, loss(self._rows))

    def _kept(self) -> float | None:
        if not self._files.exists(layout.GENERAL_BEFORE):
            return None
        kept = json.loads(self._files.read_bytes(layout.GENERAL_BEFORE))
        return float(kept["loss"]) if kept["fingerprint"] == self._fingerprint else None

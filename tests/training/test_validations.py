"""How often a training measures its validation loss: ten times and at its end, at most."""

from __future__ import annotations

import pytest

from tests.training.conftest import make_row
from tests.training.training_runs import job_of, train


@pytest.mark.parametrize(
    ("num_steps", "measured"),
    [
        (19, [2, 4, 6, 8, 10, 12, 14, 16, 18, 19]),
        (21, [3, 6, 9, 12, 15, 18, 21]),
    ],
)
def test_steps_between_validations_are_rounded_up(tmp_path, num_steps, measured):
    """Rounded down, nineteen steps would be measured nineteen times."""
    rows = [make_row(number, "train") for number in range(60)] + [make_row(60, "validation")]
    job = job_of(tmp_path, rows=rows, examples_per_step=12, max_steps=num_steps)
    records, _ = train(job)
    assert len(records) == num_steps
    found = [one.step for one in records if one.validation_loss is not None]
    assert found == measured

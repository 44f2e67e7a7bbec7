"""The tables for a terminal."""

from __future__ import annotations

import pytest

from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.numbers import duration, percent, points
from ste_ray.report.terminal import before_after_table, stage_times_table
from ste_ray.report.terminal_tables import aligned

from . import synthetic


def test_before_and_after(data: ReportData) -> None:
    assert data.evaluation is not None
    lines = before_after_table(data).splitlines()
    assert lines[0].split("  ")[0] == "setting"
    rows = {line.split()[0]: line for line in lines[2:5]}
    assert tuple(rows) == synthetic.SETTINGS
    for setting in data.evaluation.summary.settings:
        correct = setting.overall.correct
        assert correct.share is not None
        assert correct.interval is not None
        low, high = 100 * correct.interval.low, 100 * correct.interval.high
        assert f" {100 * correct.share:.1f} ({low:.1f}–{high:.1f})" in rows[setting.setting]
        assert rows[setting.setting].endswith(" 300")
    before = data.evaluation.summary.before.setting
    assert before != synthetic.SETTINGS[0]
    assert lines[5].startswith(f"last - {before} ")
    assert len({len(line) for line in lines[:6]}) == 1
    assert "95% intervals clustered by tool" in lines[6]


def test_a_run_without_results_says_so() -> None:
    data = assemble_report(synthetic.FakeReader(), 0.0)
    assert "has not run" in before_after_table(data)


def test_stage_times() -> None:
    lines = stage_times_table(
        [("explore", 12.34, 2**30, True), ("train", 100.0, 3 * 2**29, False)]
    ).splitlines()
    assert lines[2].split() == ["explore", "12.3", "s", "1.00", "GiB", "was", "complete"]
    assert lines[3].split() == ["train", "100.0", "s", "1.50", "GiB"]
    assert lines[4].split() == ["together", "112.3", "s"]


def test_columns_are_aligned() -> None:
    assert aligned(["a", "bb"], [["long", "1"], ["x", "22"]]) == (
        "a     bb\n----  --\nlong   1\nx     22"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (59.97, "1 min 00 s"), (65, "1 min 05 s"),
     (3599.7, "1 h 00 min"), (7800, "2 h 10 min")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_as_text() -> None:
    assert percent(None) == "–"
    assert percent(0.1234) == "12.3%"
    assert points(-0.05) == "−5.0"

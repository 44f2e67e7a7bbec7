"""What is said of how far inference is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ste_ray.stages.infer.progress import ProgressTotals, Reporter, SettingProgress, WorkDone


class Time:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_batch_is_seen_to_go_on_before_any_request_is_answered() -> None:
    clock, totals = Time(), ProgressTotals()
    reporter = Reporter(totals.report, clock)
    progress = SettingProgress("base/icl", 40, clock)
    reporter.begin_partition("base/icl", 20, 20_000)
    progress.take(totals.read()["base/icl"])
    assert progress.line() == (
        "infer: base/icl, 0 of 40 answered, 0.0 tokens/s, time left unknown before the first token"
    )
    reporter.begin_batch(prompt_tokens=9_000, answer_tokens=1_000)
    clock.seconds = 100.0
    for _ in range(50):
        reporter.count_tokens(10)
    reporter.tell()
    progress.take(totals.read()["base/icl"])
    # 9,500 of 20,000 tokens, and as many requests again that are not begun.
    left = 100 * (40_000 / 9_500 - 1)
    minutes, seconds = divmod(int(left), 60)
    assert progress.line() == (
        f"infer: base/icl, 0 of 40 answered, 5.0 tokens/s, about 0:{minutes:02d}:{seconds:02d} left"
    )
    reporter.end_batch(10, 10_000)
    clock.seconds = 200.0
    reporter.tell()
    progress.take(totals.read()["base/icl"])
    assert progress.going
    assert "10 of 40 answered" in progress.line()
    assert progress.line().endswith("about 0:10:00 left")


def test_the_rate_is_that_of_the_last_minute() -> None:
    clock = Time()
    progress = SettingProgress("base/icl", 10, clock)
    for second in range(200):
        clock.seconds = float(second)
        tokens = 20 * second if second < 100 else 2000 + 3 * (second - 100)
        progress.take(WorkDone(rows=1, rows_begun=10, weight=10, weight_begun=100, tokens=tokens))
    assert " 3.0 tokens/s" in progress.line()


def test_the_figures_of_all_workers_are_added_up() -> None:
    totals = ProgressTotals()
    clock = Time()
    for rows in (3, 4):
        reporter = Reporter(totals.report, clock)
        reporter.begin_partition("a/icl", rows, 100.0 * rows)
        reporter.begin_batch(90, 10)
        reporter.count_tokens(rows)
        reporter.end_batch(1, 100.0)
        reporter.begin_partition("b/icl", 5, 500.0)
    assert totals.read() == {
        "a/icl": WorkDone(rows=2, rows_begun=7, weight=200.0, weight_begun=700.0, tokens=7),
        "b/icl": WorkDone(rows_begun=10, weight_begun=1000.0),
    }


def test_reports_are_few() -> None:
    clock = Time()
    told: list[Mapping[str, WorkDone]] = []
    reporter = Reporter(lambda _, figures: told.append(figures), clock)
    reporter.begin_partition("a/icl", 100, 100)
    for number in range(100):
        clock.seconds = number / 20
        reporter.end_batch(1, 1)
    assert len(told) == pytest.approx(5, abs=1)
    reporter.tell(now=True)
    assert told[-1]["a/icl"].rows == 100

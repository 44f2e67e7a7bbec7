"""A synthetic run, scored and assembled once for all tests of the report."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ste_ray.core import layout
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.html import render_html

from . import synthetic

NOW = 1_772_446_000.0


@pytest.fixture(scope="session")
def tables() -> dict[str, Any]:
    return synthetic.tables()


@pytest.fixture(scope="session")
def run(tables: dict[str, Any]) -> synthetic.FakeReader:
    by_setting = {
        setting: [score for score in tables[layout.SCORES] if score.setting == setting]
        for setting in synthetic.SETTINGS
    }
    summary = synthetic.summary_of(by_setting)
    totals = synthetic.totals(tables[layout.LEDGER], tables[layout.EXAMPLES])
    files = {
        layout.LEDGER_TOTALS: totals.model_dump(mode="json"),
        layout.EVALUATION_SUMMARY: summary.model_dump(mode="json"),
        layout.TRAIN_METRICS: synthetic.metrics(random.Random(2)),
    }
    return synthetic.FakeReader(tables, files, synthetic.manifests())


@pytest.fixture(scope="session")
def data(run: synthetic.FakeReader) -> ReportData:
    return assemble_report(run, NOW)


@pytest.fixture(scope="session")
def page(data: ReportData) -> str:
    return render_html(data)

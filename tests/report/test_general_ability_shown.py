"""How the report shows general ability, and that it is silent where it was not measured."""

from __future__ import annotations

from typing import Any

from ste_ray.core import layout
from ste_ray.core.scoring.general_ability import GeneralAbility
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.html import render_html
from ste_ray.report.markdown import report_markdown
from ste_ray.report.terminal import before_after_table

from . import synthetic


def test_general_ability_stands_in_every_form_where_it_was_measured(
    tables: dict[str, Any], data: ReportData
) -> None:
    figures = GeneralAbility.of(80, 900, 2.31, 2.35).model_dump()
    files = {
        layout.TRAIN_METRICS: [{"step": 1, "loss": 2.0}],
        layout.TRAIN_SUMMARY: {"general_ability": figures},
    }
    measured = assemble_report(synthetic.FakeReader(tables, files, synthetic.manifests()), 0.0)
    told = "loss on 80 general examples that no training saw: 2.310 before, 2.350 after"
    assert f"<p>General ability: {told} (perplexity 10.07, 10.49).</p>" in render_html(measured)
    assert f"## Training\n\nGeneral ability: {told}" in report_markdown(measured)
    evaluated = data.model_copy(update={"training": measured.training})
    assert f"\n\ngeneral ability: {told}" in before_after_table(evaluated)
    for text in (render_html(data), report_markdown(data), before_after_table(data)):
        assert "eneral ability" not in text

"""Final answers that no rule decides, judged by the scripted teacher in the evaluate stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from exploring import context_of, teacher

from ste_ray.core import layout
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.agreement import JudgeReport
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.report.html import render_html
from ste_ray.report.markdown import report_markdown
from ste_ray.report.terminal import summary_table
from ste_ray.stages.evaluate import stage as evaluate
from ste_ray.stages.report.writing import load_report_data
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.tables import read_records, write_records

pytestmark = pytest.mark.usefixtures("ray_cluster")

SPEC = ToolSpec.model_validate(
    {
        "name": "even",
        "description": "Whether a number is even.",
        "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}},
        "effect": "read_only",
        "executor": {"kind": "python", "target": "tests.ray.reading_tools:even"},
    }
)
# What the tool returned, the final answer, and what a judge makes of it.
UNDECIDED = (
    ('{"even": true}', "It is even.", "supported"),
    ('{"even": false}', "It is not even.", "supported"),
    ('{"even": false}', "Yes, it is even.", "unsupported"),
    ('{"even": true}', "Unfortunately I cannot say.", "unanswered"),
)


def run_with(tmp_path: Path, decided: int) -> RunStore:
    """A run with the undecided answers, and so many that the rules call supported."""
    store = open_store(str(tmp_path / "run"))
    store.write_json(layout.TOOLS, [SPEC.model_dump(mode="json")])
    told = [(f'{{"half": {n}.5}}', f"It is {n}.5.") for n in range(200, 200 + decided)]
    answers = [*((seen, answer) for seen, answer, _ in UNDECIDED), *told]
    predictions = [
        Prediction(
            example_id=f"{place:03d}",
            setting="base/icl",
            tool="even",
            query="Is it even?",
            arguments_json=f'{{"number":{place}}}',
            candidates=("even",),
            output_text=f'Action: even\nAction Input: {{"number": {place}}}',
            observation=observation,
            observation_status="ok",
            final_answer=answer,
        )
        for place, (observation, answer) in enumerate(answers)
    ]
    part = layout.part(layout.predictions("base-icl"), 0)
    write_records(store, part, predictions, Prediction)
    return store


def evaluated(store: RunStore, *overrides: str) -> tuple[dict[str, Any], list[Score], list[str]]:
    context = context_of(store, [], "infer.settings=[base/icl]", *overrides)
    counts = evaluate.run(context)
    scores = sorted(read_records(store, layout.SCORES, Score), key=lambda one: one.example_id)
    return counts["settings"]["base/icl"]["answers"], scores[: len(UNDECIDED)], context.notes


def test_a_judge_that_knows_decided_answers_decides_the_others(tmp_path: Path) -> None:
    store = run_with(tmp_path, decided=20)
    figures, scores, _ = evaluated(store)
    assert figures == {"n": 24, "supported": 0.8333, "by_rules": 20, "by_judge": 0, "undecided": 4}
    assert {one.answer for one in scores} == {"undecided"}
    with teacher() as server:
        judge = (f"llm.base_url={server.url}", "evaluate.judge.enabled=true")
        figures, scores, notes = evaluated(store, *judge)
        asked = server.stats()["requests"]
        assert evaluated(store, *judge)[1] == scores
        assert server.stats()["requests"] == asked == 4 + 40  # again, nothing is asked twice
    assert figures == {"n": 24, "supported": 0.9167, "by_rules": 20, "by_judge": 4, "undecided": 0}
    assert [one.answer for one in scores] == [verdict for *_, verdict in UNDECIDED]
    assert {one.answer_decided_by for one in scores} == {"judge"}
    assert {one.outcome for one in scores} == {"correct"}
    assert not [note for note in notes if "final answers" in note]
    report = JudgeReport.model_validate(store.read_json(layout.JUDGE_REPORT))
    assert report.answers is not None
    assert report.answers.agreement is not None
    assert (report.answers.gates, report.answers.agreement.n) == (True, 40)
    data = load_report_data(store)
    assert data.evaluation is not None
    told = "decided by rules: 20, by the judge: 4, undecided: 0"
    assert told in report_markdown(data)
    assert told in summary_table(data.evaluation.summary)
    page = render_html(data)
    assert "was asked of 4 different final answers: supported 2, unsupported 1" in page
    assert "The judge beside 40 answers that the rules decide" in page


def test_a_judge_that_nothing_measures_decides_nothing(tmp_path: Path) -> None:
    store = run_with(tmp_path, decided=5)
    with teacher("--fixed-reply", "Verdict: Supported\nReason: …") as server:
        judge = (f"llm.base_url={server.url}", "evaluate.judge.enabled=true")
        figures, scores, notes = evaluated(store, *judge)
    assert figures["undecided"] == 4
    assert {(one.answer, one.answer_verdict) for one in scores} == {("undecided", "supported")}
    assert any("measured on 10 answers that the rules decide, fewer than 30" in n for n in notes)
    answers = json.loads(store.read_bytes(layout.JUDGE_REPORT))["answers"]
    assert (answers["gates"], answers["verdicts"]["supported"]) == (False, 4)

"""Wrong calls of tools that only read, executed beside the right ones by the evaluate stage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.records import Example, Prediction, Score, canonical_json
from ste_ray.core.scoring.results import ResultCounts
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.report.markdown import report_markdown
from ste_ray.report.terminal import summary_table
from ste_ray.stages.base import StageContext
from ste_ray.stages.evaluate import stage as evaluate
from ste_ray.stages.report.writing import load_report_data
from ste_ray.store.artifacts import open_store
from ste_ray.store.tables import read_records, write_records

pytestmark = pytest.mark.usefixtures("ray_cluster")

NUMBER, TEXT = {"type": "number"}, {"type": "string", "enum": ["m", "km", "mile"]}
LENGTH = {"type": "object", "properties": {"value": NUMBER, "unit": TEXT}}
PARITY = {"type": "object", "properties": {"number": {"type": "integer"}}}


def tool(name: str, target: str, parameters: dict[str, Any], effect: str) -> ToolSpec:
    executor = {"kind": "python", "target": f"tests.ray.reading_tools:{target}"}
    fields = {"name": name, "description": "…", "parameters": parameters, "effect": effect}
    return ToolSpec.model_validate(fields | {"executor": executor})


TOOLS = (
    tool("metres", "metres", LENGTH, "read_only"),
    tool("even", "even", PARITY, "read_only"),
    tool("set_length", "metres", LENGTH, "writes"),
)
# tool, right arguments, predicted ones, what comes of it, the outcome
CASES: tuple[tuple[str, dict[str, Any], dict[str, Any], str, str], ...] = (
    ("metres", {"value": 1, "unit": "km"}, {"value": 1000, "unit": "m"}, "same", "correct"),
    ("metres", {"value": 2, "unit": "km"}, {"value": 3, "unit": "km"}, "different", ""),
    ("metres", {"value": 5, "unit": "mile"}, {"value": 5, "unit": "km"}, "failed", ""),
    ("metres", {"value": 7, "unit": "m"}, {"value": 7, "unit": "mile"}, "different", ""),
    ("even", {"number": 2}, {"number": 4}, "indistinct", ""),
    ("set_length", {"value": 1, "unit": "km"}, {"value": 1000, "unit": "m"}, "", ""),
    ("metres", {"value": 9, "unit": "m"}, {"value": 9, "unit": "m"}, "", "correct"),
)


def context_with(
    tmp_path: Path, *overrides: str, known_metres: Sequence[int] = (11, 12, 13), **fields: Any
) -> StageContext:
    store = open_store(str(tmp_path / "run"))
    store.write_json(layout.TOOLS, [spec.model_dump(mode="json") for spec in TOOLS])
    predictions = [
        Prediction(
            example_id=f"{place}",
            setting="base/icl",
            tool=name,
            query="…",
            arguments_json=canonical_json(gold),
            candidates=(name,),
            output_text=f"Action: {name}\nAction Input: {json.dumps(predicted)}",
            **fields,
        )
        for place, (name, gold, predicted, _, _) in enumerate(CASES)
    ]
    part = layout.part(layout.predictions("base-icl"), 0)
    write_records(store, part, predictions, Prediction)
    seen = [("even", f'{{"number":{n}}}', '{"even": true}') for n in (6, 8, 10)]
    seen += [
        ("metres", f'{{"unit":"m","value":{n}}}', f'{{"metres": {n}.0}}') for n in known_metres
    ]
    known = [
        Example(
            example_id=f"known {place}", group_id="known", trial_id="known", tool=name, query="…",
            origin="explored", arguments_json=arguments, observation=observation,
            final_answer="", split="train",
        )
        for place, (name, arguments, observation) in enumerate(seen)
    ]  # fmt: skip
    write_records(store, layout.part(layout.EXAMPLES, 0), known, Example)
    config = load_config(None, ["infer.settings=[base/icl]", *overrides])
    return StageContext(config=config, store=store, progress=lambda text: None)


def test_other_arguments_are_right_where_the_tool_says_the_same(tmp_path: Path) -> None:
    context = context_with(tmp_path, "evaluate.execute=true")
    evaluate.run(context)
    scores = read_records(context.store, layout.SCORES, Score)
    found = [(one.results, one.outcome) for one in sorted(scores, key=lambda s: s.example_id)]
    expected = [(results, outcome or "wrong_arguments") for *_, results, outcome in CASES]
    assert found == expected
    by_results = [one.example_id for one in scores if one.decided_by == "results"]
    assert by_results == ["0"]
    assert [note for note in context.notes if "'set_length'" in note]
    data = load_report_data(context.store)
    assert data.evaluation is not None
    counted = ResultCounts(same=1, different=2, indistinct=1, failed=1)
    assert data.evaluation.summary.settings[0].results == counted
    told = "5 calls with wrong arguments were executed beside the right ones: 1 came to the same"
    assert told in report_markdown(data)
    assert told in summary_table(data.evaluation.summary)


def test_with_few_right_calls_known_equal_results_prove_nothing(tmp_path: Path) -> None:
    context = context_with(tmp_path, "evaluate.execute=true", known_metres=())
    evaluate.run(context)
    scores = read_records(context.store, layout.SCORES, Score)
    (one,) = [score for score in scores if score.example_id == "0"]
    assert (one.results, one.outcome) == ("indistinct", "wrong_arguments")


def test_nothing_is_executed_unasked(tmp_path: Path) -> None:
    context = context_with(tmp_path)
    evaluate.run(context)
    scores = read_records(context.store, layout.SCORES, Score)
    assert {one.results for one in scores} == {""}
    assert sum(one.outcome == "correct" for one in scores) == 1


def test_again_gives_the_same(tmp_path: Path) -> None:
    context = context_with(tmp_path, "evaluate.execute=true")
    evaluate.run(context)
    first = read_records(context.store, layout.SCORES, Score)
    evaluate.run(context)
    assert read_records(context.store, layout.SCORES, Score) == first


def test_final_answers_are_scored(tmp_path: Path) -> None:
    seen = {"observation": '{"metres": 1234.5}', "observation_status": "ok"}
    context = context_with(tmp_path, **seen, final_answer="It is 1,234.5 m.")
    evaluate.run(context)
    scores = read_records(context.store, layout.SCORES, Score)
    assert [one.answer for one in scores] == ["supported"] * len(CASES)
    told = f"of {len(CASES)} calls that a tool answered, 100.0%"
    data = load_report_data(context.store)
    assert data.evaluation is not None
    assert told in report_markdown(data)
    assert told in summary_table(data.evaluation.summary)

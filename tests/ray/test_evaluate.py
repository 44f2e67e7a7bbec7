"""The evaluate stage on a local Ray, from stored predictions to the stored report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import Episode, Prediction, Score
from ste_ray.errors import StageInputError
from ste_ray.stages.base import StageContext
from ste_ray.stages.evaluate import stage as evaluate
from ste_ray.stages.report.writing import load_report_data, write_report
from ste_ray.stages.running import find_own_error
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.tables import read_records, write_records
from tests.report import synthetic


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return synthetic.tables()


@pytest.fixture
def context(tmp_path: Path, tables: dict[str, Any]) -> StageContext:
    """A run whose inference has ended: two parts for one setting, one for each other."""
    store = open_store(str(tmp_path / "run"))
    store.write_json(layout.TOOLS, [s.model_dump(mode="json") for s in synthetic.specs().values()])
    write_records(store, "explore/episodes/part-0.parquet", tables[layout.EPISODES], Episode)
    for setting in synthetic.SETTINGS:
        own = [one for one in tables[layout.PREDICTIONS] if one.setting == setting]
        store_predictions(store, setting, "a", own[:100])
        store_predictions(store, setting, "b", own[100:])
    return StageContext(config=Config(), store=store, progress=lambda text: None)


def store_predictions(
    store: RunStore, setting: str, part: str, predictions: list[Prediction]
) -> None:
    path = f"infer/predictions/{setting.replace('/', '-')}/part-{part}.parquet"
    write_records(store, path, predictions, Prediction)


def test_scores_summary_and_report_are_written(
    ray_cluster: None, context: StageContext, tables: dict[str, Any]
) -> None:
    counts = evaluate.run(context)
    store = context.store
    assert write_report(store) == store.address(layout.REPORT)
    scores = read_records(store, layout.SCORES, Score)
    expected = {(one.setting, one.example_id): one for one in tables[layout.SCORES]}
    assert {(one.setting, one.example_id): one for one in scores} == expected
    assert counts["predictions"] == 900
    assert tuple(counts["settings"]) == synthetic.SETTINGS
    correct = sum(s.outcome == "correct" for s in scores if s.setting == "tuned/toolken")
    assert counts["settings"]["tuned/toolken"]["correct"] == round(correct / 300, 4)
    page = store.read_bytes("report.html").decode()
    assert "tuned/toolken" in page
    data = load_report_data(store)
    assert data.evaluation is not None
    assert data.evaluation.summary.headline[2].comparison.only_second == correct
    pairs = {(one.first, one.second) for one in data.evaluation.summary.differences}
    assert len(pairs) == 3  # every setting with every other
    summary = json.dumps(store.read_json(layout.EVALUATION_SUMMARY))
    evaluate.run(context)
    assert json.dumps(store.read_json(layout.EVALUATION_SUMMARY)) == summary


def test_settings_keep_the_order_they_were_asked_for(
    ray_cluster: None, context: StageContext
) -> None:
    settings = ("tuned/toolken", "base/icl")
    infer = context.config.infer.model_copy(update={"settings": settings})
    context.config = context.config.model_copy(update={"infer": infer})
    assert tuple(evaluate.run(context)["settings"]) == (*settings, "base/retrieved")


def failure(context: StageContext) -> StageInputError:
    with pytest.raises(StageInputError) as caught:
        evaluate.run(context)
    error = find_own_error(caught.value)
    assert isinstance(error, StageInputError)
    assert "\n" not in str(error)
    return error


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tool": "no_such_tool"}, "'no_such_tool', which is not registered"),
        ({"arguments_json": ""}, "must be a JSON object"),
        ({"arguments_json": "[1]"}, "must be a JSON object"),
    ],
)
def test_predictions_that_cannot_be_scored_are_one_line(
    ray_cluster: None, context: StageContext, tables: dict[str, Any], change: Any, words: str
) -> None:
    broken = tables[layout.PREDICTIONS][0].model_copy(update=change)
    store_predictions(context.store, broken.setting, "c", [broken])
    assert words in str(failure(context))


def test_a_setting_without_predictions_is_one_line(
    ray_cluster: None, context: StageContext
) -> None:
    context.store.delete_folder("infer/predictions/base-icl")
    assert "setting 'base/icl' has no predictions" in str(failure(context))


def test_settings_on_other_queries_cannot_be_compared(
    ray_cluster: None, context: StageContext
) -> None:
    context.store.delete("infer/predictions/tuned-toolken/part-b.parquet")
    assert "differ in 200 examples" in str(failure(context))


def test_no_predictions_at_all_is_one_line(ray_cluster: None, context: StageContext) -> None:
    context.store.delete_folder(layout.PREDICTIONS)
    assert "run 'ste-ray infer' first" in str(failure(context))

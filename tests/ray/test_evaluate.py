"""The evaluate stage on a local Ray, from stored predictions to the stored report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import Episode, Example, Prediction, Score
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.core.scoring.unseen import TestNovelty
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
    right = {
        setting: {
            one.example_id for one in scores if one.setting == setting and one.outcome == "correct"
        }
        for setting in synthetic.SETTINGS
    }
    gained = right["tuned/toolken"] - right["base/icl"]  # not the first: the best of the base model
    assert data.evaluation.summary.headline[2].comparison.only_second == len(gained)
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


def example(of: Prediction, split: Any, **fields: Any) -> Example:
    query, arguments = fields.get("query", of.query), fields.get("arguments", of.arguments_json)
    key = of.example_id if split == "test" else f"{split} {of.example_id} {query}"
    return Example(
        example_id=key, group_id=key, trial_id=key, tool=fields.get("tool", of.tool), query=query,
        origin="explored", arguments_json=arguments, observation="", final_answer="", split=split,
    )  # fmt: skip


def test_requests_unseen_in_training_are_told_apart(
    ray_cluster: None, context: StageContext, tables: dict[str, Any]
) -> None:
    own = [one for one in tables[layout.PREDICTIONS] if one.setting == "base/icl"]
    calls = [json.loads(one.arguments_json) for one in own]
    same_call = [example(one, "train", query="something else") for one in own[:5]]
    same_words = [
        example(
            one,
            "train",
            query=one.query.replace(str(call["value"]), "77").replace(call["place"], "Lima"),
            arguments=json.dumps({"place": "Lima", "value": 77}),
        )
        for one, call in zip(own[5:8], calls[5:8], strict=True)
    ]
    validation = [example(one, "validation") for one in own[8:30]]
    restraint = example(own[0], "test", tool="", query="What is a date?", arguments="")
    tests = [example(one, "test") for one in own]
    parts = [
        [*tests, restraint.model_copy(update={"example_id": "r"})],
        [*same_call, *validation],
        same_words,
    ]
    for number, part in enumerate(parts):
        write_records(context.store, layout.part(layout.EXAMPLES, number), part, Example)
    counts = evaluate.run(context)
    read = context.store.read_json(layout.EVALUATION_SUMMARY)
    summary = EvaluationSummary.model_validate(read)

    def words(query: str, call: dict[str, Any]) -> str:
        return re.sub("|".join([r"\d+", *([call["place"]] if call else [])]), "_", query)

    seen_words = {words(own[n].query, calls[n]) for n in range(5, 8)}
    seen = [words(one.query, call) in seen_words for one, call in zip(own, calls, strict=True)]
    known = [n < 5 for n in range(300)]  # no two tests have the same number here
    both = [n for n in range(300) if not seen[n] and not known[n]]
    assert summary.novelty == TestNovelty(
        n=300,
        phrasing=300 - sum(seen),
        values=295,
        both=len(both),
        tools=len({own[n].tool for n in both}),
        training_examples=8,
    )
    for setting in summary.settings:
        assert setting.unseen is not None
        assert setting.unseen.n == len(both)
        share = setting.unseen.correct.share
        assert share is not None
        assert counts["settings"][setting.setting]["correct_unseen"] == round(share, 4)


def test_without_training_examples_nothing_is_unseen_or_seen(
    ray_cluster: None, context: StageContext, tables: dict[str, Any]
) -> None:
    own = [one for one in tables[layout.PREDICTIONS] if one.setting == "base/icl"]
    tests = [example(one, "test") for one in own]
    write_records(context.store, layout.part(layout.EXAMPLES, 0), tests, Example)
    counts = evaluate.run(context)
    assert "novelty" not in context.store.read_json(layout.EVALUATION_SUMMARY)
    assert "correct_unseen" not in counts["settings"]["base/icl"]


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

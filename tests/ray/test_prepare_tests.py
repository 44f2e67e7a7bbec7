"""Tests of other kinds made by the stage: executed, judged, resumed, answered and scored apart."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from exploring import explore, teacher
from test_prepare import answered_by, prepare

from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.records import Example, MadeTest, Score, TrainRow
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.core.test_making.totals import TestTotals
from ste_ray.errors import BudgetExhaustedError
from ste_ray.stages.base import StageContext
from ste_ray.stages.registry import run_stages
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.tables import read_records

KINDS = ("natural", "indirect", "missing_argument", "no_tool", "confusable")
TESTS = [
    "prepare.tests={natural: 2, indirect: 1, missing_argument: 2, no_tool: 1, confusable: 1}",
    "prepare.judge=false",  # so that all that is asked is for tests
    "prepare.max_paraphrases=0",
    "prepare.test_fraction=0.5",
    "flush_seconds=0.2",
]


# Two of them are easily taken for each other.
SMALL = [
    "tools.include=[add_date, roman_decode, roman_encode]",
    "explore.episodes_per_tool=4",
    "explore.trials_per_episode=3",
]


def copies(tmp_path: Path, *names: str) -> list[Path]:
    """Explore once, within this process's Ray, and return copies of the run."""
    with teacher() as server:
        explore(open_store(str(tmp_path / "run")), [], *SMALL, f"llm.base_url={server.url}")
    for name in names:
        shutil.copytree(tmp_path / "run", tmp_path / name)
    return [tmp_path / name for name in names]


def made_of(store: RunStore) -> list[MadeTest]:
    return read_records(store, layout.MADE_TESTS, MadeTest)


def kinds_of(store: RunStore) -> list[Example]:
    return [one for one in read_records(store, layout.EXAMPLES, Example) if one.kind != "explicit"]


@pytest.mark.usefixtures("ray_cluster")
def test_tests_are_made_of_held_out_requests_and_go_on_where_the_budget_ended(
    tmp_path: Path,
) -> None:
    whole, stopped = (open_store(str(place)) for place in copies(tmp_path, "whole", "stopped"))
    spent = whole.read_json("explore/manifest.json")["counts"]["spent"]["calls"]
    with teacher() as server:
        url = f"llm.base_url={server.url}"
        manifest = prepare(whole, *TESTS, url)
        needed = answered_by(server)
        assert needed == manifest.counts["spent"]["calls"] > 20
    with teacher() as server:
        url = f"llm.base_url={server.url}"
        with pytest.raises(BudgetExhaustedError):
            prepare(stopped, *TESTS, url, f"budget.max_calls={spent + needed // 2}")
        assert 0 < answered_by(server) < needed
        prepare(stopped, *TESTS, url)
        assert answered_by(server) == needed  # nothing is asked twice
    assert kinds_of(stopped) == kinds_of(whole)
    assert made_of(stopped) == made_of(whole)

    made, found = made_of(whole), kinds_of(whole)
    examples = {one.trial_id: one for one in read_records(whole, layout.EXAMPLES, Example)
                if one.kind == "explicit"}  # fmt: skip
    assert {one.test_id for one in made if one.status == "kept"} == {
        one.example_id for one in found
    }
    assert {one.kind for one in found} == {*KINDS}
    for one in found:
        assert one.split == "test"
        assert one.needs_call is (one.kind in ("natural", "indirect", "confusable"))
        if one.kind != "no_tool":
            assert examples[one.trial_id].split == "test"
        if one.needs_call:
            source = examples[one.trial_id]
            assert (one.tool, one.arguments_json) == (source.tool, source.arguments_json)
    trained = {
        normalise(message.content)
        for row in read_records(whole, layout.ROWS, TrainRow)
        for message in row.dialog_history
    }
    assert not trained & {normalise(one.query) for one in found}
    totals = TestTotals.model_validate(whole.read_json(layout.TEST_TOTALS))
    counts = Counter(one.kind for one in found)
    assert {one.kind: one.kept for one in totals.kinds} == counts
    assert manifest.counts["tests_of_kinds"]["natural"]["kept"] == counts["natural"]
    for one in totals.kinds:
        assert one.made - one.kept == sum(reason.count for reason in one.dropped)


@pytest.mark.usefixtures("ray_cluster")
def test_kinds_are_answered_and_scored_apart(tmp_path: Path) -> None:
    (place,) = copies(tmp_path, "one")
    store = open_store(str(place))
    with teacher() as server:
        overrides = [
            *TESTS, f"llm.base_url={server.url}", "infer.settings=[endpoint/retrieved]",
            "retrieve.num_demonstrations=0", "retrieve.num_tools=3",
        ]  # fmt: skip
        config = load_config(None, overrides)
        stages = ("prepare", "retrieve", "infer", "evaluate")
        run_stages(stages, StageContext(config, store, lambda line: None))
    summary = EvaluationSummary.model_validate(store.read_json(layout.EVALUATION_SUMMARY))
    (setting,) = summary.settings
    examples = read_records(store, layout.EXAMPLES, Example)
    counts = Counter(one.kind for one in examples if one.split == "test")
    assert {one.kind: one.n for one in setting.kinds} == counts
    assert setting.overall.n == counts["explicit"]
    scores = {one.example_id: one for one in read_records(store, layout.SCORES, Score)}
    for one in examples:
        if one.split == "test":
            score = scores[one.example_id]
            assert (score.kind, score.near_tool) == (one.kind, one.near_tool)
    by_kind = {one.kind: one for one in setting.kinds}
    assert by_kind["natural"].right.share is not None
    assert by_kind["natural"].right.share > 0.3
    # As assistant the teacher always calls.
    assert by_kind["missing_argument"].right.share == by_kind["no_tool"].right.share == 0
    assert by_kind["confusable"].pairs

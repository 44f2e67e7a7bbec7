"""Models that need no understanding, on test splits as ``prepare`` makes them.

Each must score what it deserves in every figure. What it deserves is counted here on the examples
themselves, by their names, texts and JSON values, without the scorer.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ste_ray.config import load_config
from ste_ray.core.preparing.formatting import call_text, general_no_call_test
from ste_ray.core.records import Episode, Example, Prediction
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.core.scoring.unseen import Call, TrainingLookup, Unseen
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.report.numbers import constant_tool_text
from ste_ray.report.terminal import summary_table
from ste_ray.stages.evaluate.stage import score_predictions, summarise_settings
from ste_ray.stages.prepare.context import PrepareContext
from ste_ray.stages.prepare.outputs import Outputs
from ste_ray.stages.prepare.spool import Spool
from ste_ray.stages.prepare.steps import prepare_partition
from ste_ray.store.artifacts import open_store
from ste_ray.store.tables import read_records, to_table
from tests.simulated_provider import teacher_runs

# How many episodes of three trials each tool has: one of them stands out.
EPISODES = {"roman_encode": 24, "add_date": 6, "airport": 6, "iban_check": 6}
QUESTIONS = ("Who wrote Hamlet?", "Name 3 rivers.", "Is 7 a prime?", "What is rust?")
Model = Callable[[Example], str]
ANSWER = "Final Answer: I know that without a tool."


@dataclass(frozen=True)
class Split:
    """Prepared examples; ``tests`` need a call."""

    specs: dict[str, ToolSpec]
    training: list[Example]
    tests: list[Example]
    no_calls: list[Example]
    unseen: Unseen


@pytest.fixture(scope="module", params=["arguments", "query"])
def split(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Split:
    specs = {one.name: one for one in teacher_runs.builtin_specs() if one.name in EPISODES}
    execute = teacher_runs.executor(
        specs.values(), {name: teacher_runs.function_of(one) for name, one in specs.items()}
    )
    episodes = [
        episode
        for name, number in EPISODES.items()
        for episode in teacher_runs.explore([specs[name]], execute, episodes=number, trials=3)
    ]
    examples = prepared(tmp_path_factory.mktemp("run"), episodes, specs, request.param)
    training = [one for one in examples if one.split == "train"]
    tests = [one for one in examples if one.split == "test"]
    assert {one.tool for one in tests} == EPISODES.keys()
    lookup = TrainingLookup(map(call_of, tests), specs)
    unseen = lookup.unseen([lookup.wanted.found_in(map(call_of, training))])
    no_calls = [general_no_call_test(question, "An answer.") for question in QUESTIONS]
    return Split(specs, training, tests, no_calls, unseen)


def prepared(
    folder: Path, episodes: list[Episode], specs: dict[str, ToolSpec], group_by: str
) -> list[Example]:
    options = ["judge=false", "max_paraphrases=0", "test_fraction=0.4", f"group_by={group_by}"]
    config = load_config(None, [f"prepare.{option}" for option in options])
    context = PrepareContext(config, specs, teacher_runs.PROMPTS, None)
    store = open_store(str(folder / "run"))
    with (
        Spool(folder / "spool.arrow") as spool,
        Outputs(folder / "outputs", "part-00000") as outputs,
    ):
        table = to_table(episodes, Episode).select(["tool", "trials"])
        asyncio.run(prepare_partition(iter([table]), context, spool, outputs))
        outputs.upload(store)
    return read_records(store, "prepare/examples", Example)


def call_of(example: Example) -> Call:
    return Call(example.example_id, example.tool, example.query, example.arguments_json)


def scored(split: Split, model: Model) -> EvaluationSummary:
    """Ask a model every test, and summarise its scores as the stage does."""
    found = [
        Prediction(
            example_id=one.example_id,
            setting="baseline",
            tool=one.tool,
            query=one.query,
            arguments_json=one.arguments_json,
            candidates=tuple(split.specs),
            output_text=model(one),
        )
        for one in (*split.tests, *split.no_calls)
    ]
    scores = [score_prediction(one, split.specs) for one in found]
    whole = summarise_settings({"baseline": scores}, seed=0, num_resamples=200, unseen=split.unseen)
    alone = score_predictions(found, split.specs, load_config(None, []))
    assert alone.settings[0].overall.correct.count == whole.settings[0].overall.correct.count
    return whole


def check(
    split: Split,
    model: Model,
    *,
    wellformed: Callable[[Example], bool],
    tool_match: Callable[[Example], bool],
    correct: Callable[[Example], bool],
    needless: int,
) -> EvaluationSummary:
    """Compare every figure with what is counted on the examples."""
    summary = scored(split, model)
    (found,) = summary.settings
    deserved = {"wellformed": wellformed, "tool_match": tool_match, "correct": correct}
    tools = Counter(one.tool for one in split.tests)
    assert found.overall.n == len(split.tests)
    assert found.macro is not None
    assert found.unseen is not None
    for metric, is_deserved in deserved.items():
        right = [one for one in split.tests if is_deserved(one)]
        by_tool = Counter(one.tool for one in right)
        overall = getattr(found.overall, metric)
        assert (metric, overall.count) == (metric, len(right))
        assert overall.share == len(right) / len(split.tests)
        new = [one for one in right if one.example_id in split.unseen.example_ids]
        assert getattr(found.unseen, metric).count == len(new)
        counts = {one.tool: getattr(one.figures, metric) for one in found.tools}
        assert {t: (one.count, one.n) for t, one in counts.items()} == {
            tool: (by_tool[tool], number) for tool, number in tools.items()
        }
        mean = sum(by_tool[tool] / number for tool, number in tools.items()) / len(tools)
        assert getattr(found.macro, metric).share == pytest.approx(mean)
        interval = getattr(found.macro, metric).interval
        assert interval.low <= mean <= interval.high
    assert found.restraint is not None
    assert found.restraint.needless_calls.count == needless
    assert found.restraint.restrained.count == len(QUESTIONS) - needless
    return summary


def yes(example: Example) -> bool:
    return True


def no(example: Example) -> bool:
    return False


def right_call(example: Example) -> str:
    return call_text(example.tool, example.arguments_json)


def test_who_always_calls_is_exposed_by_requests_that_need_no_call(split: Split) -> None:
    def model(one: Example) -> str:
        return right_call(one) if one.tool else call_text("roman_encode", '{"number":7}')

    summary = check(split, model, wellformed=yes, tool_match=yes, correct=yes, needless=4)
    restraint = summary.settings[0].restraint
    assert restraint is not None
    assert [(one.tool, one.count) for one in restraint.called] == [("roman_encode", 4)]


def test_who_never_calls_is_restrained_and_nothing_else(split: Split) -> None:
    check(split, lambda one: ANSWER, wellformed=no, tool_match=no, correct=no, needless=0)


def test_the_most_frequent_tool_looks_good_in_shares_and_not_in_the_mean(split: Split) -> None:
    trained = Counter(one.tool for one in split.training)
    (most, _), *_ = trained.most_common(1)
    assert most == "roman_encode"
    outside = 123456  # no test asks for it
    wanted = {json.loads(one.arguments_json).get("number") for one in split.tests}
    assert outside not in wanted
    summary = check(
        split,
        lambda one: call_text(most, json.dumps({"number": outside})),
        wellformed=yes,
        tool_match=lambda one: one.tool == most,
        correct=no,
        needless=4,
    )
    (found,) = summary.settings
    tests = Counter(one.tool for one in split.tests)
    share = tests[most] / len(split.tests)
    assert share > 0.5  # so it looks better than it is
    assert found.macro is not None
    assert found.macro.tool_match.share == 1 / 4
    # The report says what such a model reaches, whichever model is looked at.
    constant = scored(split, right_call_or_answer).constant_tool
    assert constant is not None
    assert (constant.tool, constant.share, constant.macro_share) == (most, share, 1 / 4)
    text = summary_table(summary)
    assert constant_tool_text(constant) in text
    assert "always calling roman_encode" in text
    assert f"{100 * share:.1f}% of all queries and 25.0% in this mean" in text


def right_call_or_answer(example: Example) -> str:
    return right_call(example) if example.tool else ANSWER


def first_number(text: str) -> int | None:
    found = re.search(r"\d+", text)
    return int(found[0]) if found else None


def test_copying_the_first_number_is_right_where_that_is_all_there_is(split: Split) -> None:
    """It knows the tool, and takes the first number of the request for whatever is asked."""

    def copied(one: Example) -> dict[str, Any]:
        required = split.specs[one.tool].parameters["required"]
        return dict.fromkeys(required, first_number(one.query))

    def model(one: Example) -> str:
        return call_text(one.tool, json.dumps(copied(one))) if one.tool else ANSWER

    def correct(one: Example) -> bool:
        return bool(json.loads(one.arguments_json) == copied(one))

    summary = check(split, model, wellformed=yes, tool_match=yes, correct=correct, needless=0)
    (found,) = summary.settings
    by_tool = {one.tool: one.figures.correct for one in found.tools}
    # The table by tool names who is served by that, and the mean over tools what it is worth.
    assert by_tool["roman_encode"].share > 0.5  # type: ignore[operator]
    assert (by_tool["airport"].count, by_tool["iban_check"].count) == (0, 0)
    assert found.macro is not None
    assert found.overall.correct.share > found.macro.correct.share + 0.1  # type: ignore[operator]


def test_copying_a_demonstration_is_right_in_nothing_unseen(split: Split) -> None:
    """It answers with a call of the right tool from training, the right one if it stands there."""
    calls: dict[str, list[str]] = {}
    for one in split.training:
        calls.setdefault(one.tool, []).append(one.arguments_json)

    def model(one: Example) -> str:
        if not one.tool:
            return ANSWER
        known = calls[one.tool]
        return call_text(one.tool, one.arguments_json if one.arguments_json in known else known[0])

    summary = check(
        split,
        model,
        wellformed=yes,
        tool_match=yes,
        correct=lambda one: one.arguments_json in calls[one.tool],
        needless=0,
    )
    (found,) = summary.settings
    assert found.unseen is not None
    assert found.unseen.n > 0
    assert found.unseen.correct.count == 0

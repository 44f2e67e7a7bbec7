"""A final answer is asked only of a model that may have learned to give one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.inferring.settings import Setting, parse_settings
from ste_ray.core.records import Prediction
from ste_ray.generation.predict import AnsweredQuery
from ste_ray.stages.base import StageContext
from ste_ray.stages.infer.local_workers import LocalWorker
from ste_ray.stages.infer.stage import _wordless
from ste_ray.stages.shared.final_answers import words_answers
from ste_ray.store.artifacts import RunStore, open_store
from tests.asked_run import declare

TUNED, BASE = Setting("tuned", "toolken"), Setting("base", "icl")


def run_of(folder: Path, **trained: bool) -> RunStore:
    store = open_store(str(folder))
    declare(store, **trained)
    return store


@pytest.mark.parametrize("tool_responses", [True, False])
def test_a_run_s_own_model_answers_if_it_was_trained_to(
    tmp_path: Path, tool_responses: bool
) -> None:
    store = run_of(tmp_path, tool_responses=tool_responses)
    assert words_answers(store, TUNED, {}) is tool_responses
    assert words_answers(store, BASE, {})
    assert words_answers(store, Setting("endpoint", "icl"), {})


@pytest.mark.parametrize("tool_responses", [True, False])
def test_so_does_that_of_another_run(tmp_path: Path, tool_responses: bool) -> None:
    store = run_of(tmp_path / "own", tool_responses=not tool_responses)
    other = run_of(tmp_path / "other", tool_responses=tool_responses)
    models = {
        "other": other.address(layout.TUNED_MODEL),
        "slash": f"{other.address(layout.TUNED_MODEL)}/",
        "base": other.address(layout.BASE_MODEL),
        "lone": str(tmp_path / "lone/train/model"),
        "hub": "someone/model",
    }
    said = {name: words_answers(store, Setting(name, "toolken"), models) for name in models}
    trained = {"other": tool_responses, "slash": tool_responses}
    assert said == {**trained, "base": True, "lone": True, "hub": True}
    assert not (tmp_path / "lone").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["infer.execute=true"], {"tuned/toolken", "tuned/plain"}),
        (["infer.execute=[base/icl, tuned/toolken]"], {"tuned/toolken"}),
        ([], set()),
    ],
)
def test_it_matters_where_calls_are_executed(
    tmp_path: Path, options: list[str], expected: set[str]
) -> None:
    store = run_of(tmp_path, tool_responses=False)
    names = ["base/icl", "tuned/toolken", "tuned/plain"]
    config = load_config(None, [f"infer.settings=[{', '.join(names)}]", *options])
    context = StageContext(config, store, print)
    assert _wordless(context, parse_settings(names)) == expected


class Knowing:
    """Stands in for a predictor: a model that writes another call where it is asked again."""

    def conclude(self, answered: Any, results: Any) -> list[Prediction]:
        junk = {"final_answer": "Action: <tool_note>"}
        return [one.prediction.model_copy(update=junk) for one in answered]


class Tools:
    """Answers every call."""

    async def call(self, call: CallTool) -> ToolResult:
        return ToolResult(status="ok", text=f"{call.tool} was called")


@pytest.mark.parametrize("wordless", [True, False])
def test_a_model_trained_on_calls_alone_is_not_asked_again(wordless: bool) -> None:
    config = load_config(None, ["infer.execute=true"])
    plan = SimpleNamespace(
        config=config,
        wordless=frozenset({TUNED.name} if wordless else ()),
        materials=lambda: {"": None},
        report=lambda *_: None,
        executed_in=lambda _: frozenset({"note"}),
    )
    predictions = [
        Prediction(
            example_id=f"e{number}",
            setting=TUNED.name,
            tool=tool,
            query="q",
            arguments_json="{}",
            candidates=(),
            output_text=f"Action: {tool}\nAction Input: {{}}",
        )
        for number, tool in enumerate(["note", "other"])
    ]
    answered = [AnsweredQuery(None, None, one) for one in predictions]  # type: ignore[arg-type]
    worker = LocalWorker(plan)  # type: ignore[arg-type]
    work = worker._concluded(Knowing(), TUNED, answered, Tools())  # type: ignore[arg-type]
    called, not_called = asyncio.run(work)
    if wordless:
        assert (called.observation, called.observation_status) == ("note was called", "ok")
        assert called.final_answer == ""
        assert not_called == predictions[1]
    else:
        assert called.final_answer == "Action: <tool_note>"

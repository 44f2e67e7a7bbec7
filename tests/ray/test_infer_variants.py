"""Requests asked anew in other ways, on a real, local Ray, with a tiny model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from inferring import WORDS, Run, copied, predictions, prepared_run

from ste_ray.core import layout
from ste_ray.core.inferring.perturbing import renamed_parameters
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError
from ste_ray.stages.evaluate import stage as evaluate
from ste_ray.stages.infer import stage as infer
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import read_records, write_records

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return prepared_run(tmp_path_factory.mktemp)


@pytest.fixture
def run(prepared: RunStore, tmp_path: Path) -> Iterator[Run]:
    with copied(prepared, tmp_path / "run") as found:
        yield found


def answers(store: RunStore, name: str) -> list[Prediction]:
    folder = layout.predictions(name.replace("/", "-"))
    return sorted(read_records(store, folder, Prediction), key=lambda one: one.example_id)


def test_requests_are_asked_several_times_and_scored_together(run: Run) -> None:
    settings = {"settings": ("tuned/toolken",), "temperature": 1.5}
    context = run.configured(infer={**settings, "repeats": 3})
    counts = infer.run(context)
    assert list(counts["settings"]) == ["tuned/toolken"]
    names = ["tuned/toolken.repeat-2", "tuned/toolken.repeat-3"]
    assert list(counts["variants"]) == names
    rounds = [answers(run.store, name) for name in ("tuned/toolken", *names)]
    for name, found in zip(("tuned/toolken", *names), rounds, strict=True):
        assert [one.example_id for one in found] == [f"test-{n:03d}" for n in range(37)]
        assert {one.setting for one in found} == {name}
    texts = [[one.output_text for one in found] for found in rounds]
    assert texts[0] != texts[1] != texts[2] != texts[0]
    assert {one.setting for one in predictions(run.store)} == {"tuned/toolken"}

    scored = evaluate.run(context)
    assert scored["predictions"] == 37
    summary = EvaluationSummary.model_validate(run.store.read_json(layout.EVALUATION_SUMMARY))
    (again,) = summary.repeats
    assert again.calls is not None
    assert (again.setting, again.times, again.calls.n) == ("tuned/toolken", 3, 37)
    scores = read_records(run.store, layout.VARIANT_SCORES, Score)
    assert len(scores) == 2 * 37
    assert scored["settings"]["tuned/toolken"]["flipping"] == round(again.calls.flipping.share, 4)
    assert "infer: tuned/toolken.repeat-2 is already complete" not in run.lines
    infer.run(context)
    assert "infer: tuned/toolken.repeat-2 is already complete" in run.lines

    # The first answers are those of a run that asks once.
    for path in run.store.list("infer"):
        run.store.delete(path)
    infer.run(run.configured(infer=settings))
    assert [one.output_text for one in answers(run.store, "tuned/toolken")] == texts[0]


def test_greedy_repeats_are_refused(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"infer\.repeats=2 asks 'tuned/toolken' the same 2"):
        infer.run(run.configured(infer={"settings": ("tuned/toolken",), "repeats": 2}))


def test_prompts_show_more_and_more_tools(run: Run) -> None:
    settings = ("base/plain", "tuned/toolken")
    context = run.configured(infer={"settings": settings, "sweep": (2, 5), "num_workers": 1})
    infer.run(context)
    own = {one.example_id: one.tool for one in predictions(run.store)}
    assert {one.setting for one in predictions(run.store)} == {*settings}
    for size in (2, 5):
        found = answers(run.store, f"base/plain.tools-{size}")
        assert len(found) == 37
        for one in found:
            assert len(one.candidates) + one.tools_left_out == size
            assert one.tools_left_out or own[one.example_id] in one.candidates
    two = answers(run.store, "base/plain.tools-2")
    assert {name for one in two for name in one.candidates} == {*own.values()}
    # Beyond the three tools of the run stand shipped ones.
    five = answers(run.store, "base/plain.tools-5")
    assert {name for one in five for name in one.candidates} - {*own.values()}
    assert {one.prompt_tokens for one in five if not one.error}
    evaluate.run(context)
    summary = EvaluationSummary.model_validate(run.store.read_json(layout.EVALUATION_SUMMARY))
    assert [(one.setting, one.num_tools, one.figures.n) for one in summary.sweep] == [
        ("base/plain", 2, 37),
        ("base/plain", 5, 37),
        ("tuned/toolken", 0, 37),
    ]
    with pytest.raises(ConfigError, match=r"asks for 900 tools, but the run has 3 and infer"):
        infer.run(run.configured(infer={"settings": settings, "sweep": (900,)}))


def test_a_call_of_a_tool_of_the_catalogue_is_of_a_wrong_tool(run: Run) -> None:
    infer.run(run.configured(infer={"settings": ("base/plain",), "sweep": (5,)}))
    folder = layout.predictions("base-plain.tools-5")
    found = answers(run.store, "base/plain.tools-5")
    other = next(name for one in found for name in one.candidates if name not in WORDS)
    called = [
        one.model_copy(update={"output_text": f"Action: {name}\nAction Input: {{}}"})
        for one, name in zip(found, (other, "never_shown"), strict=False)
    ]
    for path in run.store.list(folder):
        if path.endswith(".parquet"):
            run.store.delete(path)
    write_records(run.store, layout.part(folder, 0), [*called, *found[2:]], Prediction)
    evaluate.run(run.configured(infer={"settings": ("base/plain",), "sweep": (5,)}))
    scores = read_records(run.store, layout.VARIANT_SCORES, Score)
    assert [one.outcome for one in scores[:2]] == ["wrong_tool", "unknown_tool"]


def test_tools_are_described_otherwise_and_calls_scored_under_their_own_names(run: Run) -> None:
    tools = [ToolSpec.model_validate(one) for one in run.store.read_json(layout.TOOLS)]
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tools = [one.changed(parameters=schema) for one in tools]
    run.store.write_json(layout.TOOLS, [one.model_dump(mode="json") for one in tools])
    given = {
        "settings": ("base/plain", "tuned/toolken"),
        "perturb": ("rename_parameters", "add_lookalike", "add_enum_value"),
        "constrained": True,
        "max_new_tokens": 60,
    }
    context = run.configured(infer=given)
    infer.run(context)
    assert any(
        "no explicit test request is of a tool that 'add_enum_value'" in n for n in context.notes
    )
    names = {one.name: renamed_parameters(one, context.config.seed)["n"] for one in tools}
    renamed = answers(run.store, "base/plain.rename_parameters")
    assert len(renamed) == 37
    # The grammar lets nothing but the names pass that the prompt shows.
    assert any(f'"{name}":' in one.output_text for one in renamed for name in names.values())
    assert not any('"n":' in one.output_text for one in renamed)
    beside = answers(run.store, "base/plain.add_lookalike")
    for one in beside:
        further = set(one.candidates) - WORDS.keys()
        assert one.tools_left_out or [name.startswith(f"{one.tool}_") for name in further] == [True]
    assert not run.store.list(f"{layout.VARIANTS}/tuned-toolken")

    right = [
        one.model_copy(
            update={
                "output_text": f"Action: {one.tool}\nAction Input: "
                + json.dumps({name: json.loads(one.arguments_json)["n"]})
            }
        )
        for one, name in zip(renamed, ("n", *(names[one.tool] for one in renamed[1:])), strict=True)
    ]
    folder = layout.predictions("base-plain.rename_parameters")
    for path in run.store.list(folder):
        if path.endswith(".parquet"):
            run.store.delete(path)
    write_records(run.store, layout.part(folder, 0), right, Prediction)
    evaluate.run(context)
    summary = EvaluationSummary.model_validate(run.store.read_json(layout.EVALUATION_SUMMARY))
    first, second = summary.robustness
    assert (first.perturbation, first.correct.n) == ("rename_parameters", 37)
    assert first.correct.second_share == pytest.approx(36 / 37)
    assert (second.perturbation, second.correct.n) == ("add_lookalike", 37)
    scores = read_records(run.store, layout.VARIANT_SCORES, Score)
    own = [one for one in scores if one.setting == "base/plain.rename_parameters"]
    assert [(one.outcome, one.missing) for one in own[:2]] == [
        ("wrong_arguments", ("n",)),
        ("correct", ()),
    ]
    # What the model wrote stays as it wrote it.
    assert answers(run.store, "base/plain.rename_parameters") == right

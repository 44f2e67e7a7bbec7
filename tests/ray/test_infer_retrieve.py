"""The retrieve and infer stages on a real, local Ray, with a tiny model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from inferring import SETTINGS, WORDS, Run, copied, examples, predictions, prepared_run

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.preparing.formatting import general_no_call_test
from ste_ray.core.records import Example, Prediction, Retrieved
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.errors import ConfigError, StageInputError, ToolTemplateError
from ste_ray.stages.evaluate import stage as evaluate
from ste_ray.stages.infer import stage as infer
from ste_ray.stages.infer.models import model_folder, tokenizer_folder
from ste_ray.stages.retrieve import stage as retrieve
from ste_ray.stages.running import find_own_error
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import read_records, write_records
from tests.native_templates import SILENT

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return prepared_run(tmp_path_factory.mktemp)


@pytest.fixture
def run(prepared: RunStore, tmp_path: Path) -> Iterator[Run]:
    with copied(prepared, tmp_path / "run") as found:
        yield found


def test_retrieve_and_infer(run: Run) -> None:
    counts = retrieve.run(run.context)
    assert counts["queries"] == 37
    assert counts["tools_per_query"] == 2
    assert counts["demonstrations_per_query"] == 3
    assert counts["tool_recall"] == counts["tool_recall_at_1"] == 1.0
    assert 0 < counts["mean_demonstration_score"] <= 1
    retrieved = read_records(run.store, layout.RETRIEVED, Retrieved)
    assert [item.example_id for item in retrieved] == [f"test-{i:03d}" for i in range(37)]
    assert all(hit.key.startswith("train-") for item in retrieved for hit in item.demonstrations)

    counts = infer.run(run.context)
    assert counts["queries"] == 37
    assert tuple(counts["settings"]) == SETTINGS
    found = predictions(run.store)
    assert [(item.setting, item.example_id) for item in found] == [
        (setting, f"test-{i:03d}") for setting in sorted(SETTINGS) for i in range(37)
    ]
    for setting in SETTINGS:
        own = [item for item in found if item.setting == setting]
        numbers = counts["settings"][setting]
        assert numbers["queries"] == numbers["timing"]["queries"] == 37
        assert numbers["errors"] == 0
        assert numbers["prompt_tokens"] == sum(item.prompt_tokens for item in own)
        assert numbers["completion_tokens"] == sum(item.completion_tokens for item in own) > 0
        assert numbers["timing"]["seconds"] > 0
    shown = {item.example_id: tuple(hit.key for hit in item.tools) for item in retrieved}
    for item in found:
        wanted = sorted(WORDS) if item.setting == "tuned/toolken" else shown[item.example_id]
        assert item.candidates == tuple(wanted)


def test_requests_that_need_no_call_are_tempted_answered_and_scored(run: Run) -> None:
    tests = [general_no_call_test(f"What is the moon like, {n}?", "Grey.") for n in range(5)]
    write_records(run.store, layout.NO_CALL_TESTS, tests, Example)
    # The retriever finds every right tool; what none of them needs does not count.
    assert retrieve.run(run.context)["tool_recall"] == 1.0
    retrieved = {
        one.example_id: one for one in read_records(run.store, layout.RETRIEVED, Retrieved)
    }
    for test in tests:
        assert {tool.key for tool in retrieved[test.example_id].tools} <= WORDS.keys()
        assert len(retrieved[test.example_id].tools) == 2
    settings = (*SETTINGS, "base/plain")
    context = run.configured(infer={"settings": settings})
    assert infer.run(context)["queries"] == 42
    own = [one for one in predictions(run.store) if not one.needs_call]
    assert Counter(one.setting for one in own) == dict.fromkeys(settings, 5)
    assert {(one.arguments_json, one.error) for one in own} == {("", "")}
    assert all(one.candidates for one in own)
    assert context.notes == []
    counts = evaluate.run(context)
    for setting in settings:
        figures = counts["settings"][setting]
        assert (figures["n"], figures["no_call_tests"]) == (37, 5)
    summary = EvaluationSummary.model_validate(run.store.read_json(layout.EVALUATION_SUMMARY))
    assert all(one.restraint and one.restraint.n == 5 for one in summary.settings)


def test_what_may_write_nothing_but_calls_is_no_test_of_restraint(run: Run) -> None:
    test = general_no_call_test("What is the moon like?", "Grey.")
    write_records(
        run.store, "prepare/examples/part-00000.parquet", [*examples("train", 3), test], Example
    )
    context = run.configured(
        infer={"settings": ("tuned/toolken",), "constrained": True, "max_new_tokens": 40}
    )
    infer.run(context)
    assert any(
        "1 test requests need no call, but infer.constrained" in one for one in context.notes
    )
    assert evaluate.run(context)["settings"]["tuned/toolken"]["n"] == 0


def test_a_stage_that_was_cut_off_goes_on(run: Run) -> None:
    settings = ("base/icl", "tuned/toolken")
    retrieve.run(run.context)
    infer.run(run.configured(infer={"settings": settings, "num_workers": 1}))
    before = predictions(run.store)
    kept = {path: run.store.read_versioned(path) for path in run.store.list("infer")}
    folder = f"{layout.PREDICTIONS}/base-icl"
    # As it was cut off in: a few pieces, one of them written twice.
    whole = f"{folder}/part-00000.parquet"
    done = read_records(run.store, whole, Prediction)[5:21]
    num_lost = 37 - len(done)
    run.store.delete(whole)
    run.store.delete(f"{folder}/_complete")
    for number, piece in enumerate((done[:9], done[9:], done[:4])):
        path = f"{layout.PREDICTION_PIECES}/base-icl/piece-{number}.parquet"
        write_records(run.store, path, piece, Prediction)
    run.lines.clear()

    # The work may be cut differently from the first time.
    counts = infer.run(
        run.configured(infer={"settings": settings, "num_workers": 1, "batch_size": 3})
    )
    assert predictions(run.store) == before
    assert "infer: tuned/toolken is already complete" in run.lines
    assert f"infer: base/icl, {num_lost} of 37 queries to answer" in run.lines
    assert counts["settings"]["base/icl"]["queries"] == 37
    assert counts["settings"]["base/icl"]["timing"]["queries"] == num_lost
    for path, version in kept.items():
        if not path.startswith(folder):
            assert run.store.read_versioned(path) == version
    assert run.store.read_versioned(whole)[0] == kept[whole][0]
    assert [path for path in run.store.list(folder) if path.endswith(".parquet")] == [whole]


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_missing_split_is_named(run: Run, split: str) -> None:
    data = [item for item in [*examples("train", 3), *examples("test", 3)] if item.split != split]
    write_records(run.store, "prepare/examples/part-00000.parquet", data, Example)
    with pytest.raises(StageInputError, match=f"there is no {split} example among the 3 in"):
        retrieve.run(run.context)


def test_no_demonstrations_need_no_training_examples(run: Run) -> None:
    data = examples("test", 3)
    write_records(run.store, "prepare/examples/part-00000.parquet", data, Example)
    counts = retrieve.run(run.configured(retrieve={"num_demonstrations": 0}))
    assert (counts["queries"], counts["demonstrations_per_query"]) == (3, 0)


def test_a_missing_model_names_the_stage_to_run(run: Run) -> None:
    retrieve.run(run.context)
    run.store.delete_folder(layout.TUNED_MODEL)
    with pytest.raises(StageInputError, match=r"'tuned/toolken' needs.*run 'ste-ray train --run"):
        infer.run(run.context)
    assert not run.store.list("infer")


def test_wrong_settings_and_lengths_are_refused_before_any_work(run: Run) -> None:
    retrieve.run(run.context)
    with pytest.raises(ConfigError, match=r"unknown setting 'base/toolken'.*allowed: MODEL/PROMPT"):
        infer.run(run.configured(infer={"settings": ("base/icl", "base/toolken")}))
    with pytest.raises(ConfigError, match=r"max_new_tokens=2048 leaves no room"):
        infer.run(run.configured(infer={"max_new_tokens": 2048}))
    assert not run.store.list("infer")


def test_an_unusable_model_is_reported_by_its_own_error(
    run: Run,
) -> None:
    retrieve.run(run.context)
    run.store.write_bytes("train/base/model.safetensors", b"no tensors")
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever Ray wraps around it
        infer.run(run.configured(infer={"settings": ("base/icl",), "num_workers": 1}))
    own = find_own_error(raised.value)
    assert isinstance(own, StageInputError)
    assert "cannot load the model in" in str(own)


def test_a_model_is_read_from_any_storage(store: RunStore) -> None:
    store.write_bytes("train/base/config.json", b"{}")
    store.write_bytes("train/base/parts/one.json", b"[]")
    models = {"mine": store.address(layout.BASE_MODEL)}
    elsewhere = Config.model_validate({"infer": {"models": models}})
    store.write_bytes("train/base/model.safetensors", b"weights")
    for name in ("base", "mine") if "://" in store.uri else ("base",):
        with tokenizer_folder(store, name, elsewhere) as folder:
            assert folder is not None
            assert (folder / "config.json").read_bytes() == b"{}"
            here = str(folder) == store.path(layout.BASE_MODEL)
            assert (folder / "model.safetensors").exists() == here
        with model_folder(store, name, elsewhere) as folder:
            assert (folder / "config.json").read_bytes() == b"{}"
            assert (folder / "parts" / "one.json").read_bytes() == b"[]"
        assert folder.exists() == (str(folder) == store.path(layout.BASE_MODEL))


def test_examples_of_other_data_are_refused(run: Run) -> None:
    retrieve.run(run.context)
    data = examples("test", 3)
    write_records(run.store, "prepare/examples/part-00000.parquet", data, Example)
    with pytest.raises(StageInputError, match="names the unknown example 't"):
        infer.run(run.context)


def test_models_of_ones_own_are_checked_before_any_worker_starts(run: Run, tmp_path: Path) -> None:
    for given, complaint in (
        (str(tmp_path / "none"), "is no folder here"),
        (str(tmp_path), r"holds neither config\.json nor adapter_config\.json"),
    ):
        context = run.configured(infer={"settings": ("mine/retrieved",), "models": {"mine": given}})
        with pytest.raises(ConfigError, match=complaint):
            infer.run(context)


def test_a_local_model_answers_natively_if_its_template_can(run: Run) -> None:
    retrieve.run(run.context)
    section = {"constrained": True, "tool_choice": "required", "max_new_tokens": 140}
    context = run.configured(infer={"settings": ("base/native",), **section})
    template = f"{layout.BASE_MODEL}/chat_template.jinja"
    own = run.store.read_bytes(template)
    run.store.write_bytes(template, SILENT.encode())
    with pytest.raises(ToolTemplateError, match=r"'base/native': the .* or ask the model by text"):
        infer.run(context)
    assert not run.store.list("infer")
    run.store.write_bytes(template, own)  # knows no tools, so that one is taken that does
    infer.run(context)
    assert any(
        "base/native: the model's chat template shows no tools" in one for one in context.notes
    )
    found = predictions(run.store)
    assert len(found) == 37
    assert {(one.native, len(one.calls), one.oddities) for one in found} == {(True, 1, ())}
    assert all(one.calls[0].name in one.candidates for one in found)
    assert evaluate.run(context)["settings"]["base/native"]["n"] == 37


def test_a_model_of_ones_own_answers_like_that_of_the_run(run: Run) -> None:
    retrieve.run(run.context)
    folder = run.store.path(layout.TUNED_MODEL)
    settings = ("tuned/toolken", "mine/toolken")
    infer.run(run.configured(infer={"settings": settings, "models": {"mine": folder}}))
    found = predictions(run.store)
    texts = {name: [one.output_text for one in found if one.setting == name] for name in settings}
    assert len(texts["mine/toolken"]) == 37
    assert texts["mine/toolken"] == texts["tuned/toolken"]

"""Exports as a Hugging Face dataset and in the study's form; folders that appear whole or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from exports.prepared_run import NAMES, make_run

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.records import Example
from ste_ray.core.replies.chat_form import chat_messages
from ste_ray.errors import ConfigError
from ste_ray.exports.folder import write_json_list
from ste_ray.process.new_folder import new_folder
from ste_ray.store.manifest import read_manifest, write_manifest
from ste_ray.store.tables import write_records

REFERENCE = Path(__file__).parents[3] / "shared/reference"


FORMS = ("trl", "openai", "llamafactory", "axolotl", "hermes", "huggingface", "study")
KEYS = [
    "query", "API_name_list", "api_descriptions", "action", "action_input", "observation",
    "final_ans",
]  # fmt: skip


def export(form, store, out, *options):
    return main(["export", form, "--run", store.uri, "--out", str(out), *options])


def test_a_dataset_is_loaded_back_equal(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    store, examples, rows = make_run(tmp_path / "run")
    assert export("huggingface", store, tmp_path / "out") == 0
    cache = str(tmp_path / "cache")
    loaded = load_dataset(str(tmp_path / "out"), cache_dir=cache)
    for split in ("train", "validation", "test"):
        wanted = [one for one in examples if one.split == split]
        assert len(loaded[split]) == len(wanted)
        for found, one in zip(loaded[split], wanted, strict=True):
            fields = {"query", "tool", "observation", "final_answer", "group_id", "origin"}
            assert {name: found[name] for name in fields} == one.model_dump(include=fields)
            assert found["arguments"] == one.arguments_json
            assert [message["role"] for message in found["messages"]] == [
                "system", "user", "assistant", "user", "assistant",
            ]  # fmt: skip
            assert f"Action: <tool_{one.tool}>" in found["messages"][2]["content"]
    loaded = load_dataset(str(tmp_path / "out"), "rows", cache_dir=cache)
    wanted_rows = [row for row in rows if row.split == "train"]
    for found, row in zip(loaded["train"], wanted_rows, strict=True):
        assert found == row.model_dump(exclude={"schema_version", "split"}) | {
            "dialog_history": chat_messages(row.dialog_history)
        }


def test_exports_name_the_versions_that_they_need(tmp_path):
    store, _, _ = make_run(tmp_path / "run é")
    for form, need in (
        ("huggingface", "datasets>=2.14"),
        ("trl", "datasets>=4.7"),
        ("openai", "openai>=1.0"),
    ):
        out = tmp_path / f"out é {form}"
        assert export(form, store, out) == 0
        assert need in (out / "README.md").read_text(encoding="utf-8")


def test_the_card_says_what_is_in_it_and_how_it_was_made(tmp_path):
    store, _, _ = make_run(tmp_path / "run")
    assert export("huggingface", store, tmp_path / "out", "--license", "cc-by-4.0") == 0
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    _, header, text = card.split("---\n", 2)
    fields = yaml.safe_load(header)
    assert fields["license"] == "cc-by-4.0"
    assert fields["size_categories"] == ["n<1K"]
    splits = [file["split"] for file in fields["configs"][0]["data_files"]]
    assert splits == ["train", "validation", "test"]
    for told in (
        "1.2.3",
        "The language model some-model imagined requests",
        "The tools were really called.",
        "explorer some-model",
        "a note of the stage",
        "| train | 32 |",
    ):
        assert told in text
    assert all(name.replace("|", "\\|") in text for name in NAMES)
    assert "| add | Does add \\| and more. On two lines. | 8 | 1 | 1 |" in text


def card_of(tmp_path, models, simulated=()):
    store, _, _ = make_run(tmp_path / "run")
    store.write_json("explore/models.json", models)
    specs = store.read_json(layout.TOOLS)
    for spec in specs:
        if spec["name"] in simulated:
            spec["executor"] = {"kind": "simulated"}
    store.write_json(layout.TOOLS, specs)
    manifest = read_manifest(store, "prepare")
    notes = (f"rows of '{tmp_path}/data/flan.json' could not be used",)
    write_manifest(store, manifest.model_copy(update={"notes": notes}))
    assert export("huggingface", store, tmp_path / "out", "--license", "other") == 0
    return (tmp_path / "out/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("models", "simulated", "told", "untold"),
    [
        (
            {"explorer": "scripted-teacher"},
            (),
            ["A script,", "not a language model", "really called", "written by a script"],
            ["imagined"],
        ),
        (
            {"explorer": "/models/mine", "tool_simulator": "other"},
            NAMES[:1],
            [
                "The language model mine imagined",
                "3 tools were really called; 1 were played by the language model other",
                "explorer mine",
            ],
            ["A script"],
        ),
        (
            {"explorer": "m", "tool_simulator": "scripted-teacher"},
            NAMES,
            ["The language model m", "No tool was called: they were played by a script", "made up"],
            ["really called", "services change"],
        ),
        ({}, (), ["were brought in from elsewhere"], ["imagined", "really called", "A script"]),
    ],
)
def test_the_card_says_who_wrote_the_data_and_nothing_of_this_machine(
    tmp_path, models, simulated, told, untold
):
    card = card_of(tmp_path, models, simulated)
    assert [one for one in told if one not in card] == []
    assert [one for one in untold if one in card] == []
    assert str(tmp_path) not in card
    assert "rows of 'flan.json' could not be used" in card


def test_the_card_can_be_read_by_the_hub_library(tmp_path):
    from huggingface_hub import DatasetCard

    store, _, _ = make_run(tmp_path / "run")
    export("huggingface", store, tmp_path / "out")
    card = DatasetCard.load(tmp_path / "out/README.md")
    assert card.data.license == "other"
    assert "tool-use" in card.data.tags


def test_the_study_form(tmp_path):
    store, examples, rows = make_run(tmp_path / "run")
    assert export("study", store, tmp_path / "out") == 0

    def read(name):
        return json.loads((tmp_path / "out" / name).read_text(encoding="utf-8"))

    data = read("tool_data.json")
    train = [one for one in examples if one.split == "train"]
    assert [(item["query"], item["action"]) for item in data] == [
        (one.query, one.tool) for one in train
    ]
    assert all(list(item) == KEYS for item in data)
    assert json.loads(data[0]["action_input"]) == json.loads(train[0].arguments_json)
    assert data[0]["api_descriptions"].startswith(f"API_name: {train[0].tool}\nDescription: ")
    tests = read("tool_test.json")
    assert list(tests) == NAMES
    assert sum(map(len, tests.values())) == 4
    dialogs = read("dialogs.json")
    assert len(dialogs) == sum(row.split == "train" for row in rows)
    assert set(dialogs[0]) == {"dialog_history", "response"}
    assert set(dialogs[0]["dialog_history"][0]) == {"role", "content"}
    assert read("toolken_list.json") == [f"<tool_{name}>" for name in NAMES]


@pytest.mark.skipif(not REFERENCE.exists(), reason="the study's reference data are not there")
def test_the_study_form_has_the_shape_of_the_studys_own_files(tmp_path):
    store, _, _ = make_run(tmp_path / "run")
    export("study", store, tmp_path / "out")
    own = json.loads((REFERENCE / "tool_test.json").read_text())
    ours = json.loads((tmp_path / "out/tool_test.json").read_text())
    assert list(next(iter(own.values()))[0]) == list(next(iter(ours.values()))[0])
    general = json.loads((REFERENCE / "flan_v2_2k.json").read_text())
    dialogs = json.loads((tmp_path / "out/dialogs.json").read_text())
    assert list(general[0]) == list(dialogs[0])


def test_every_export_says_what_it_holds(tmp_path, capsys):
    store, _, _ = make_run(tmp_path / "run")
    for form in FORMS:
        assert export(form, store, tmp_path / form, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        marker = json.loads((tmp_path / form / "export.json").read_text())
        assert told == {"folder": str(tmp_path / form), **marker}
        assert marker["format"] == form
        assert marker["run"] == "run"  # and not where it lies
        assert marker["tools"] == 4


@pytest.mark.parametrize("form", FORMS)
def test_a_run_that_is_not_prepared_is_told_so(tmp_path, capsys, form):
    store, _, _ = make_run(tmp_path / "run")
    store.delete("prepare/manifest.json")
    assert export(form, store, tmp_path / "out") == 2
    assert "run 'ste-ray prepare" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_tool_that_is_not_described_is_named_and_nothing_left(tmp_path, capsys, form):
    store, examples, _ = make_run(tmp_path / "run")
    foreign = examples[0].model_copy(update={"tool": "foreign"})
    store.write_json(layout.PREPARED_TOOLS, [{"name": name} for name in [*NAMES, "foreign"]])
    write_records(store, "prepare/examples/part-00001.parquet", [foreign], Example)
    assert export(form, store, tmp_path / "out") == 2
    assert "'foreign', which explore/tools.json does not describe" in capsys.readouterr().err
    assert list(tmp_path.glob(".out*")) == []
    assert not (tmp_path / "out").exists()


def test_names_that_clash_are_told_in_one_line(tmp_path, capsys, monkeypatch):
    store, _, _ = make_run(tmp_path / "run")
    monkeypatch.setattr("ste_ray.core.texts.safe_names.safe_name", lambda _: "same")
    assert export("openai", store, tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert "would both be called 'same'" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_overwritten(tmp_path, capsys):
    store, _, _ = make_run(tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    for name, told in (("full", "is not empty"), ("file", "is a file")):
        assert export("trl", store, tmp_path / name) == 2
        assert told in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert export("trl", store, tmp_path / "empty") == 0
    assert (tmp_path / "full/mine.txt").read_text() == "x"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_export_leaves_nothing(tmp_path, error):
    def write():
        with new_folder(str(tmp_path / "out")) as folder:
            (folder / "half").write_text("x")
            raise error

    with pytest.raises(error):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot write"), new_folder(f"{tmp_path}/file/out"):
        pass


def test_long_lists_are_valid_json(tmp_path):
    for values in ([], [1], [{"a": "ü"}, [2], None]):
        assert write_json_list(tmp_path / "l.json", iter(values)) == len(values)
        assert json.loads((tmp_path / "l.json").read_text(encoding="utf-8")) == values


def test_wrong_options_are_told(tmp_path, capsys):
    store, _, _ = make_run(tmp_path / "run")
    assert export("trl", store, tmp_path / "out", "--tools-per-row", "-1") == 2
    assert "--tools-per-row -1" in capsys.readouterr().err
    assert export("openai", store, tmp_path / "few") == 0
    assert main(["export", "nothing", "--run", store.uri, "--out", "x"]) == 2

"""The export for LLaMA-Factory, loaded and tokenised by LLaMA-Factory itself."""

from __future__ import annotations

import contextlib
import importlib
import json
from types import SimpleNamespace

import pytest
from exports.prepared_run import HELD_OUT, NAMES, make_run

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.preparing.formatting import general_row
from ste_ray.core.records import Message, TrainRow
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.stages.base import load_prompts
from ste_ray.store.tables import write_records
from tests.byte_models import byte_tokenizer
from tests.peer_modules import needs_peer, peer_modules

TURN_ENDS = "<|im_end|>"


def export(store, out, *options):
    assert main(["export", "llamafactory", "--run", store.uri, "--out", str(out), *options]) == 0
    return out


def lines(folder, split):
    text = (folder / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def peer():
    """LLaMA-Factory's modules, without what its models need."""
    stand_ins = {"torchaudio": {}, "omegaconf": {"OmegaConf": object}}
    with pytest.MonkeyPatch.context() as patch, peer_modules(stand_ins):
        patch.setenv("DISABLE_VERSION_CHECK", "1")  # of libraries that are newer here
        yield SimpleNamespace(
            get_dataset=importlib.import_module("llamafactory.data.loader").get_dataset,
            template=importlib.import_module("llamafactory.data.template").TEMPLATES["qwen"],
            data_arguments=importlib.import_module("llamafactory.hparams.data_args").DataArguments,
        )


def loaded(peer, folder, cache):
    """Load train and validation as a training by LLaMA-Factory does; return texts of both."""
    tokenizer = byte_tokenizer(["Request <|im_start|>user"], 300, ends=("<|im_start|>", TURN_ENDS))
    found = peer.get_dataset(
        peer.template,
        SimpleNamespace(cache_dir=str(cache), hf_hub_token=None),
        peer.data_arguments(
            dataset="ste_ray_train",
            eval_dataset="ste_ray_validation",
            dataset_dir=str(folder),
            cutoff_len=1 << 16,
            overwrite_cache=True,
        ),
        SimpleNamespace(
            main_process_first=lambda **_: contextlib.nullcontext(),
            local_process_index=0,
            predict_with_generate=False,
            should_log=False,
            seed=0,
        ),
        stage="sft",
        tokenizer=tokenizer,
    )
    return {
        split: [
            (tokenizer.decode(row["input_ids"]), _trained(tokenizer, row["labels"])) for row in rows
        ]
        for split, rows in (
            ("train", found["train_dataset"]),
            ("validation", found["eval_dataset"]),
        )
    }


def _trained(tokenizer, labels):
    """Return the texts that are trained on, one a turn."""
    text = tokenizer.decode([one for one in labels if one >= 0])
    return [turn.strip("\n") for turn in text.split(TURN_ENDS)[:-1]]


@needs_peer("llamafactory")
def test_llamafactory_trains_on_each_call_as_it_was_made(tmp_path, monkeypatch, peer):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    store, examples, _ = make_run(tmp_path / "run")
    folder = export(store, tmp_path / "out")
    texts = loaded(peer, folder, tmp_path / "cache")
    assert {split: len(rows) for split, rows in texts.items()} == {"train": 35, "validation": 4}
    for one in examples:
        if one.split == "test":
            continue
        found = [
            (text, trained)
            for text, trained in texts[one.split]
            if f"user\n{one.query}{TURN_ENDS}" in text
        ]
        ((text, (call, answer)),) = found
        ((name, arguments),) = peer.template.extract_tool(call)
        assert name == safe_name(one.tool)
        assert json.loads(arguments) == json.loads(one.arguments_json)
        assert answer == one.final_answer
        assert f"<tool_response>\n{one.observation}\n</tool_response>" in text
        assert f'"name": "{name}"' in text.partition(one.query)[0]  # the tool is offered


@needs_peer("llamafactory")
def test_llamafactory_trains_on_answers_without_a_call(tmp_path, monkeypatch, peer):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    store, _, _ = make_run(tmp_path / "run")
    texts = loaded(peer, export(store, tmp_path / "out"), tmp_path / "cache")["train"]
    general, offered = (
        (text, trained) for text, trained in texts if "Say <tool_add> in French" in text
    )
    assert general[1] == ["Je ne <tool_sais> pas"]
    assert "<tools>" not in general[0]
    assert offered[1] == ["Bonjour"]
    assert offered[0].count('"type": "function"') == len(NAMES)
    ((absent, trained),) = (one for one in texts if "Tell me a secret" in one[0])
    assert trained == ["None of my tools can do this."]
    assert HELD_OUT not in absent


def test_dialogs_that_do_not_alternate_are_left_out_and_counted(tmp_path, capsys):
    store, _, _ = make_run(tmp_path / "run")
    system = Message(role="system", content="Be brief.")
    one, two = (Message(role="user", content=text) for text in ("one", "two"))
    said = Message(role="assistant", content="yes")
    dialogs = [(system, one, said, two), (one, two), (one, system, two)]
    rows = [general_row(dialog, "Fine", "train", load_prompts()) for dialog in dialogs]
    write_records(store, layout.GENERAL_ROWS, rows, TrainRow)
    folder = export(store, tmp_path / "out")
    assert "note: left out: 2 x general data whose turns" in capsys.readouterr().err
    marker = json.loads((folder / "export.json").read_text())
    assert list(marker["left_out"].values()) == [2]
    kept = lines(folder, "train")
    assert len(kept) == marker["rows"]["train"]
    (row,) = (row for row in kept if row["system"])
    assert row["system"] == "Be brief."
    assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt", "human", "gpt"]


def test_a_call_ends_the_dialog_where_answers_are_not_trained(tmp_path):
    store, _, _ = make_run(tmp_path / "run", 10, "prepare.tool_responses=false")
    rows = lines(export(store, tmp_path / "out", "--tools-per-row", "2"), "train")
    calls = [row for row in rows if row["conversations"][1]["from"] == "function_call"]
    assert {len(row["conversations"]) for row in calls} == {2}
    assert {len(json.loads(row["tools"])) for row in calls} == {2}


def test_a_split_without_rows_is_no_data_set(tmp_path):
    store, _, _ = make_run(tmp_path / "run", splits=False)
    folder = export(store, tmp_path / "out")
    info = json.loads((folder / "dataset_info.json").read_text())
    assert list(info) == ["ste_ray_train"]
    assert (folder / info["ste_ray_train"]["file_name"]).is_file()

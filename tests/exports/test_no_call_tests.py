"""Tests that need no call in the forms of other programs: in those that have a place for them."""

from __future__ import annotations

import json

import pytest
from exports.prepared_run import NAMES, example, make_run

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.preparing.formatting import general_no_call_test
from ste_ray.core.records import Example, Prediction
from ste_ray.store.tables import write_records

QUERY, ANSWER = "Who wrote <tool_add>?", "Nobody did."


@pytest.fixture
def store(tmp_path):
    store, _, _ = make_run(tmp_path / "run")
    write_records(store, layout.NO_CALL_TESTS, [general_no_call_test(QUERY, ANSWER)], Example)
    return store


def export(form, store, out, *options):
    assert main(["export", form, "--run", store.uri, "--out", str(out), *options]) == 0


@pytest.mark.parametrize("form", ["trl", "openai"])
def test_conversations_offer_tools_and_call_none(tmp_path, store, form):
    export(form, store, tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out/test.jsonl").read_text().splitlines()]
    assert len(rows) == len(NAMES) + 1
    (row,) = (one for one in rows if one["messages"][0]["content"] == QUERY)
    assert row["messages"][1:] == [{"role": "assistant", "content": ANSWER}]
    assert len(row["tools"]) == len(NAMES)


def test_sharegpt_conversations_offer_tools_and_call_none(tmp_path, store):
    export("llamafactory", store, tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out/test.jsonl").read_text().splitlines()]
    (row,) = (one for one in rows if one["conversations"][0]["value"] == QUERY)
    assert row["conversations"][1:] == [{"from": "gpt", "value": ANSWER}]
    assert len(json.loads(row["tools"])) == len(NAMES)


@pytest.mark.parametrize("form", ["trl", "openai", "llamafactory", "axolotl", "hermes"])
def test_those_without_an_answer_are_left_out_and_counted(tmp_path, store, capsys, form):
    unanswered = general_no_call_test("Add.", "").model_copy(
        update={"kind": "missing_argument", "near_tool": "add", "missing": "a"}
    )
    called = example("add", 7, "test").model_copy(
        update={"example_id": "edited", "query": "Add 7!", "observation": "", "final_answer": ""}
    )
    write_records(store, layout.EDITED_TESTS, [unanswered, called], Example)
    export(form, store, tmp_path / "out")
    text = (tmp_path / "out/test.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == len(NAMES) + 2
    turns = [row.get("messages") or row["conversations"] for row in rows]
    assert all(turn.get("content", turn.get("value")) != "" for row in turns for turn in row)
    (edited,) = (row for row in turns if "Add 7!" in row[-2].values())
    assert edited[-1].get("role", edited[-1].get("from")) in ("assistant", "gpt", "function_call")
    reason = "tests that need no call, without an answer to show"
    assert json.loads((tmp_path / "out/export.json").read_text())["left_out"] == {reason: 1}
    assert f"left out: 1 x {reason}" in capsys.readouterr().err


def test_a_dataset_holds_them_with_an_empty_tool_and_says_so(tmp_path, monkeypatch, store):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    export("huggingface", store, tmp_path / "out")
    loaded = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    (row,) = (one for one in loaded["test"] if not one["tool"])
    assert (row["arguments"], row["origin"], row["final_answer"]) == ("", "general", ANSWER)
    assert [one["role"] for one in row["messages"]] == ["system", "user", "assistant"]
    card = (tmp_path / "out/README.md").read_text()
    assert "\n1 general requests of the split `test` need no call" in card
    assert "|  |" not in card  # no row of the table of tools


def test_the_study_has_no_place_for_them(tmp_path, store):
    export("study", store, tmp_path / "out")
    tests = json.loads((tmp_path / "out/tool_test.json").read_text())
    assert list(tests) == NAMES
    assert QUERY not in json.dumps(tests)


def test_saved_results_leave_them_out_and_say_so(tmp_path, capsys, store):
    common = {"setting": "a/b", "candidates": ("add",), "output_text": "Final Answer: x"}
    predictions = [
        Prediction(example_id="1", tool="", query="q", arguments_json="", **common),
        Prediction(example_id="2", tool="add", query="q", arguments_json="{}", **common),
    ]
    write_records(store, f"{layout.PREDICTIONS}/a-b/part-00000.parquet", predictions, Prediction)
    out = tmp_path / "saved.json"
    export("predictions", store, out, "--setting", "a/b")
    saved = json.loads(out.read_text())
    assert {tool: len(items) for tool, items in saved.items()} == {"add": 1}
    assert "1 requests that need no call have no place in that form" in capsys.readouterr().err

"""Preference pairs: which calls make one, and that TRL trains on them."""

from __future__ import annotations

import json

import pytest
from exports.prepared_run import make_run

from ste_ray.cli.main import main
from ste_ray.core.records import Episode, Example, Trial, Turn, canonical_json
from ste_ray.exports.dpo import mended_calls
from ste_ray.store.tables import write_records
from tests.byte_models import byte_llama, byte_tokenizer
from tests.native_templates import HERMES


def call(status, arguments, tool="add"):
    text = arguments if isinstance(arguments, str) else canonical_json(arguments)
    return Turn(
        reply_index=1,
        reply_text="",
        kind="tool_call",
        tool=tool,
        arguments_text=text,
        arguments_json=text,
        observation="it said so",
        observation_status=status,
    )


ANSWER = Turn(reply_index=9, reply_text="", kind="final_answer", final_answer="It is.")
GARBLED = Turn(reply_index=2, reply_text="?", kind="parse_failure", observation_status="unparsed")


def trial(trial_id, *turns, outcome="finished", tool="add"):
    return Trial(
        trial_id=trial_id,
        episode_id="e",
        tool=tool,
        episode_number=0,
        trial_number=0,
        query="a request",
        query_text="",
        memory_shown=0,
        turns=turns,
        final_answer="It is.",
        outcome=outcome,
        solved="yes",
    )


def episode(*trials):
    return Episode(
        episode_id="e", tool="add", tool_fingerprint="f", episode_number=0, messages=(),
        trials=trials,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("turns", "failed"),
    [
        ([call("error", {"a": 0}), call("ok", {"a": 1}), ANSWER], [{"a": 0}]),
        ([call("rejected", {"b": 0}), GARBLED, call("ok", {"a": 1}), ANSWER], [{"b": 0}]),
        (
            [call("error", {"a": 0}), call("error", {"a": 0}), call("rejected", {"a": "x"}),
             call("ok", {"a": 1}), ANSWER],
            [{"a": 0}, {"a": "x"}],
        ),
        # The same call failed once and worked once: it was not at fault.
        ([call("error", {"a": 1}), call("ok", {"a": 1}), ANSWER], []),
        # Nobody knows what was wrong, or nothing was.
        ([call("timeout", {"a": 0}), call("crashed", {"a": 2}), call("ok", {"a": 1}), ANSWER], []),
        ([call("ok", {"a": 0}), call("ok", {"a": 1}), ANSWER], []),
        # No call worked in the end, or one failed after it.
        ([call("rejected", {"a": 0}), call("error", {"a": 1}), ANSWER], []),
        ([call("ok", {"a": 1}), call("rejected", {"a": 0}), ANSWER], []),
        # What cannot be written as arguments.
        ([call("rejected", "[1]"), call("rejected", "{"), call("ok", {"a": 1}), ANSWER], []),
        ([call("error", {"a": 0}, "other"), call("ok", {"a": 1}), ANSWER], []),
    ],
)  # fmt: skip
def test_pairs_are_calls_that_failed_and_the_one_that_mended_them(turns, failed):
    found = mended_calls([episode(trial("t1", *turns))])
    assert [json.loads(one) for one in found.get("t1", ("", []))[1]] == failed
    if failed:
        assert found["t1"][0] == '{"a":1}'


def test_trials_that_did_not_finish_make_no_pairs():
    turns = [call("error", {"a": 0}), call("ok", {"a": 1})]
    assert mended_calls([episode(trial("t1", *turns, outcome="out_of_turns"))]) == {}


@pytest.fixture
def store(tmp_path):
    """A run in which two trials of a tool mended a call; one of them has a paraphrase."""
    store, examples, _ = make_run(tmp_path / "run")
    trials = [
        trial(
            f"t{number}",
            call("rejected", {"a": "one"}),
            call("error", {"a": -1}),
            call("ok", {"a": 1, "number": number}),
            ANSWER,
        )
        for number in (0, 5)
    ]
    write_records(store, "explore/episodes/part-00000.parquet", [episode(*trials)], Episode)
    (fifth,) = (one for one in examples if one.tool == "add" and one.trial_id == "t5")
    changes = {"example_id": "p", "query": "Otherwise said?", "origin": "paraphrase"}
    more = [fifth.model_copy(update=changes)]
    write_records(store, "prepare/examples/part-00001.parquet", more, Example)
    return store


def export(store, out, *options):
    return main(["export", "dpo", "--run", store.uri, "--out", str(out), *options])


def test_trl_loads_pairs_as_they_were_written(tmp_path, monkeypatch, store):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    assert export(store, tmp_path / "out") == 0
    loaded = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 4, "test": 2}
    written = (tmp_path / "out/train.jsonl").read_text(encoding="utf-8").splitlines()
    assert list(loaded["train"]) == [json.loads(line) for line in written]
    queries = [row["prompt"][0]["content"] for row in loaded["train"]]
    assert queries.count("Otherwise said?") == 2
    for row in loaded["train"]:
        ((chosen,), (rejected,)) = (row[name][0]["tool_calls"] for name in ("chosen", "rejected"))
        assert chosen["function"] == {"name": "add", "arguments": {"a": 1, "number": 5}}
        assert rejected["function"]["arguments"] in ({"a": "one"}, {"a": -1})
        assert "add" in {tool["function"]["name"] for tool in row["tools"]}


def test_a_preference_trainer_takes_a_step_on_it(tmp_path, monkeypatch, store):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset
    from trl import DPOConfig, DPOTrainer

    assert export(store, tmp_path / "out", "--tools-per-row", "1") == 0
    loaded = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    tokenizer = byte_tokenizer(["Request 1 <|im_start|>user"], 300, HERMES)
    settings = DPOConfig(
        output_dir=str(tmp_path / "trained"),
        max_steps=1,
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        max_length=None,
        dataloader_pin_memory=False,
    )
    model, reference = (
        byte_llama(tokenizer, width=16, num_layers=1, positions=2048) for _ in range(2)
    )
    trainer = DPOTrainer(
        model=model,
        ref_model=reference,
        args=settings,
        train_dataset=loaded,
        processing_class=tokenizer,
    )
    told = [tokenizer.decode(row["prompt_ids"]) for row in trainer.train_dataset]
    assert all('"name": "add"' in text for text in told)
    assert {tokenizer.decode(row["chosen_ids"]) for row in trainer.train_dataset} == {
        '<tool_call>\n{"name": "add", "arguments": {"a": 1, "number": 5}}\n</tool_call><|im_end|>\n'
    }
    assert trainer.train().training_loss == pytest.approx(0.693, abs=1e-2)  # of two equal chances


def test_a_run_without_pairs_is_told_so(tmp_path, capsys):
    store, _, _ = make_run(tmp_path / "run")  # nothing explored
    assert export(store, tmp_path / "out") == 2
    assert "holds no pair: no trial of its prepared data mended" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""Whole trainings in the native form, and what they leave behind."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.core import layout
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.preparing.formatting import native_dialog
from ste_ray.core.preparing.native_rows import native_row
from ste_ray.core.preparing.offering import asked_row
from ste_ray.core.prompts import offered_tool
from ste_ray.core.replies.chat_form import chat_tool
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.toolkens import TOOLKENS_FILE
from ste_ray.errors import ConfigError, StageInputError, ToolTemplateError
from ste_ray.retrieval.encoder import HASHED_NGRAMS, make_encoder
from ste_ray.retrieval.offering import ToolOffers
from ste_ray.training.checkpoints import latest_checkpoint
from ste_ray.training.tool_parser import TOOL_PARSER_FILE
from tests.native_templates import HERMES, SILENT
from tests.training.native_runs import (
    PROMPTS,
    SPECS,
    an_example,
    native_job,
    other_rows,
    rows_of,
)
from tests.training.training_runs import losses, save_base, train, train_until_killed

EXAMPLES = [
    an_example(number, value) for number, value in enumerate(["abc", "zebra", "ox", "milk"])
]


class Asked:
    """An exported model, asked with its own template, which knows tools."""

    def __init__(self, tokenizer, model):
        self.chat = NativeChat(tokenizer, name_of=safe_name)
        self.tokenizer, self.model = tokenizer, model
        self.offers = ToolOffers(make_encoder(HASHED_NGRAMS), list(SPECS.values()), 2, seed=5)

    def after(self, dialog, row):
        """What it says with the tools of a row, read and as it is written."""
        (names,) = self.offers.of([asked_row(row)])
        offered = [chat_tool(offered_tool(SPECS[one]), safe_name(one)) for one in names]
        prompt = torch.tensor([self.chat.prompt(dialog, offered)])
        ids = self.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=80
        )[0, prompt.shape[1] :]
        text = self.tokenizer.decode(ids)
        return read_reply(text, self.chat.facts.form), text


def test_what_is_learned_by_heart_is_called_by_the_exported_model(tmp_path):
    called, answered_too = EXAMPLES[0], EXAMPLES[3]  # other tools are offered with each
    (alone,) = [row for row in other_rows() if row.kind == "no_call" and not row.tool]
    rows = [*rows_of(called, tool_responses=False), *rows_of(answered_too), alone]
    job, _ = native_job(
        tmp_path, rows, max_steps=90, examples_per_step=4, learning_rate=0.004, batch_tokens=8192
    )
    records, figures = train(job)
    assert records[-1].loss < 0.05
    assert figures["batching"] == "shared"

    folder = tmp_path / layout.TUNED_MODEL
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = Asked(tokenizer, AutoModelForCausalLM.from_pretrained(folder))
    for example, row in ((called, rows[0]), (answered_too, rows[1])):
        read, text = asked.after(native_dialog(example.query, (), PROMPTS), row)
        (got,) = read.calls
        wanted = (safe_name(example.tool), json.loads(example.arguments_json))
        assert (got.name, json.loads(got.arguments_text)) == wanted
        # As transformers and its server read it.
        (function,) = tokenizer.parse_response(text, prefix=asked.chat.facts.begins[0])[
            "tool_calls"
        ]
        assert (function["function"]["name"], function["function"]["arguments"]) == wanted
    for row, said in ((rows[2], answered_too.final_answer), (alone, "hi <tool_x> you")):
        read, _ = asked.after(native_row(row, PROMPTS)[:-1], row)
        assert (read.calls, read.content) == ((), said)

    assert not (folder / TOOLKENS_FILE).exists()
    assert not (folder / TOOL_PARSER_FILE).exists()
    assert len(tokenizer) == len(AutoTokenizer.from_pretrained(tmp_path / layout.BASE_MODEL))
    card = (folder / "README.md").read_text("utf-8")
    assert "apply_chat_template" in card
    assert "`weather report`" in card
    assert "toolken" not in card


def test_two_ranks_with_adapters_train_native_rows_like_one_process(two_ranks, tmp_path):
    rows = [*(row for example in EXAMPLES for row in rows_of(example)), *other_rows()]
    section = {"max_steps": 3, "batch_tokens": 4096, "mode": "lora", "no_call_tokens": 4}
    expected, _ = train(native_job(tmp_path / "alone", rows, batching="grouped", **section)[0])
    sharded, figures = two_ranks.run(train, native_job(tmp_path / "two", rows, **section)[0])[0]
    assert [one.loss for one in sharded] == pytest.approx([one.loss for one in expected], abs=1e-4)
    assert figures["workers"] == 2
    assert expected[-1].loss < expected[0].loss


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path):
    rows = [row for example in EXAMPLES for row in rows_of(example)]
    few = {"max_steps": 5, "examples_per_step": 3, "batch_tokens": 4096, "checkpoint_seconds": 0}
    expected, _ = train(native_job(tmp_path / "whole", rows, **few)[0])
    job, _ = native_job(tmp_path / "killed", rows, **few)
    train_until_killed(job, 4)
    kept = latest_checkpoint(job.files, job.fingerprint).step
    assert 1 <= kept < 4
    job, _ = native_job(tmp_path / "killed", rows, **few)
    rest, _ = train(job)
    assert [one.step for one in rest] == list(range(kept + 1, 6))
    assert torch.equal(losses(rest), losses(expected[kept:]))
    whole, killed = (
        AutoModelForCausalLM.from_pretrained(tmp_path / run / layout.TUNED_MODEL).state_dict()
        for run in ("whole", "killed")
    )
    assert whole.keys() == killed.keys()
    assert all(torch.equal(weight, killed[name]) for name, weight in whole.items())


def test_rounds_go_on_from_the_model_of_the_one_before_and_keep_its_toolkens(tmp_path):
    rows = [row for example in EXAMPLES for row in rows_of(example)]
    few = {"max_steps": 2, "batch_tokens": 4096}
    train(native_job(tmp_path / "toolken", rows, format="toolken", **few)[0])
    tokenizers, known, base = [], [], tmp_path / "toolken" / layout.TUNED_MODEL
    for run in ("first", "second"):
        train(native_job(tmp_path / run, rows, model={"base": str(base)}, **few)[0])
        known.append(json.loads((base / TOOLKENS_FILE).read_text("utf-8")))
        base = tmp_path / run / layout.TUNED_MODEL
        tokenizers.append(AutoTokenizer.from_pretrained(base))
    assert known[0]["tools"].keys() == SPECS.keys()
    assert known[0] == known[1]
    first, second = tokenizers
    assert "<tool_call>" in first.chat_template
    assert first.chat_template == second.chat_template
    assert first.response_template == second.response_template
    assert first.get_vocab() == second.get_vocab()


def test_what_cannot_be_trained_natively_is_refused_before_rows_are_made(tmp_path, tokenizer):
    rows = [row for example in EXAMPLES for row in rows_of(example)]
    with pytest.raises(ConfigError, match=r"mode='toolkens'.*format='native' has none"):
        native_job(tmp_path / "rows", rows, mode="toolkens")
    few = {name: SPECS[name] for name in list(SPECS)[1:]}
    with pytest.raises(StageInputError, match="does not describe the tool 'weather report'"):
        native_job(tmp_path / "specs", rows, specs=few)

    tokenizer.chat_template = SILENT
    base = {"base": str(save_base(tmp_path / "silent", tokenizer))}
    with pytest.raises(ToolTemplateError, match="shows tools, but how it writes calls"):
        native_job(tmp_path / "a", rows, model=base, max_tokens=256)
    tokenizer.chat_template = HERMES.replace("<tool_response>\n{{ m.content }}", "")
    base = {"base": str(save_base(tmp_path / "deaf", tokenizer))}
    with pytest.raises(ConfigError, match="does not write what a tool returned, so final answers"):
        native_job(tmp_path / "b", rows, model=base, max_tokens=256)
    mended = rows[0].model_copy(update={"kind": "mended_call"})  # calls alone, but after an error
    with pytest.raises(ConfigError, match="corrections cannot be trained"):
        native_job(tmp_path / "c", [mended, rows[2]], model=base, max_tokens=256)
    for run in ("a", "b", "c"):
        assert not list((tmp_path / run / "train").glob("shards/*"))


def test_rows_that_cannot_be_written_are_told_and_left_out(tmp_path):
    rows = [row for example in EXAMPLES for row in rows_of(example, tool_responses=False)]
    broken = rows[0].model_copy(update={"response": "Action: none"})
    job, context = native_job(tmp_path / "one", [broken, *rows[1:]])
    assert sum(shard.rows for shard in job.shards) == 3
    (note,) = [one for one in context.notes if "cannot be written" in one]
    assert note.startswith("1 rows cannot be written in the form of the base's calls")
    assert repr(broken.row_id) in note
    with pytest.raises(StageInputError, match="no training row is left: 2 rows cannot be written"):
        native_job(tmp_path / "none", [broken, broken.model_copy(update={"row_id": "other"})])

"""Native training rows: the prompt is that of inference, and the labels are the call alone."""

from __future__ import annotations

import json
import pickle

import pytest
from ray import cloudpickle

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.chat_tokens.native.giving import give_tools
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.preparing.formatting import native_dialog
from ste_ray.core.preparing.native_rows import native_row
from ste_ray.core.preparing.offering import asked_row
from ste_ray.core.prompts import offered_tool
from ste_ray.core.records import TrainRow
from ste_ray.core.replies.chat_form import chat_tool
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.errors import ConfigError, StageInputError, ToolTemplateError
from ste_ray.store.tables import to_table
from ste_ray.training.examples import ROW_COLUMNS, RowTokenizer
from ste_ray.training.native_form import NativeForm
from ste_ray.training.shards import make_shard
from tests.native_templates import (
    BARE,
    GEMMA,
    HERMES,
    KEYWORDS,
    MISTRAL_LIST,
    SILENT,
    THINKING,
    UNEVEN,
)
from tests.training.native_runs import (
    PROMPTS,
    SPECS,
    an_example,
    form_of,
    native_tokenizer,
    offers,
    other_rows,
    rows_of,
)

# ``None``: the small tokenizer's own, which knows no tools.
TEMPLATES = {
    "none": None,
    "hermes": HERMES,
    "thinking": THINKING,
    "bare": BARE,
    "mistral": MISTRAL_LIST,
    "gemma": GEMMA,
    "keywords": KEYWORDS,
}
VALUES = ('é "x"\n{', "[/INST]", "<|im_end|>")


def prompt_and_reply(tokenizer, row, **options):
    rows = RowTokenizer(tokenizer, 2048, native=form_of(tokenizer), **options)
    found = rows.tokenise(row)
    ids = list(found.input_ids)
    return ids[: found.prompt_tokens], ids[found.prompt_tokens :]


def offered_to(row):
    (names,) = offers().of([asked_row(row)])
    return names, [chat_tool(offered_tool(SPECS[name]), safe_name(name)) for name in names]


@pytest.mark.parametrize("value", ["abc", *VALUES])
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_call_is_learned_behind_the_prompt_of_inference(name, value):
    tokenizer = native_tokenizer(TEMPLATES[name])
    chat = NativeChat(tokenizer, name_of=safe_name)
    example = an_example(3, value)
    call, _ = rows_of(example)
    prompt, reply = prompt_and_reply(tokenizer, call)

    names, offered = offered_to(call)
    assert prompt == chat.prompt(native_dialog(example.query, (), PROMPTS), offered)
    assert example.tool in names
    assert len(names) == 2
    text = tokenizer.decode(prompt)
    assert all(safe_name(one) in text for one in names)
    assert not any(safe_name(one) in text for one in SPECS if one not in names)

    ends = {tokenizer.eos_token_id, *chat.stop_ids()}
    assert reply[-1] in ends
    assert not ends & set(reply[:-1])
    schemas = {one["function"]["name"]: one["function"]["parameters"] for one in offered}
    read = read_reply(tokenizer.decode(reply), chat.facts.form, schemas)
    (got,) = read.calls
    assert (got.name, json.loads(got.arguments_text)) == (safe_name(example.tool), {"q": value})
    assert (read.problem, read.content, read.after) == ("", "", "")


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_answer_is_learned_behind_the_call_and_its_result(name):
    tokenizer = native_tokenizer(TEMPLATES[name])
    chat = NativeChat(tokenizer, name_of=safe_name)
    example = an_example(1)
    call, answer = rows_of(example)
    prompt, reply = prompt_and_reply(tokenizer, answer)
    names, offered = offered_to(answer)
    assert names == offered_to(call)[0]
    assert prompt == chat.prompt(native_row(answer, PROMPTS)[:-1], offered)
    text = tokenizer.decode(prompt)
    assert example.observation in text
    assert text.count(example.tool) > tokenizer.decode(prompt_and_reply(tokenizer, call)[0]).count(
        example.tool
    )
    read = read_reply(tokenizer.decode(reply), chat.facts.form)
    assert (read.content.strip(), read.calls) == (example.final_answer, ())


def test_what_needs_no_call_offers_tools_and_general_data_do_not():
    tokenizer = native_tokenizer(HERMES)
    general, alone, absent = other_rows()
    prompt, reply = prompt_and_reply(tokenizer, general)
    assert "Tools:" not in tokenizer.decode(prompt)
    assert "Say <tool_x> hi." in tokenizer.decode(prompt)
    assert tokenizer.decode(reply) == "hi <tool_x> you<|im_end|>"

    for row, said in ((alone, "hi <tool_x> you"), (absent, PROMPTS.render("no_tool_answer"))):
        prompt, reply = prompt_and_reply(tokenizer, row, no_call_tokens=0)
        names, _ = offered_to(row)
        assert all(safe_name(one) in tokenizer.decode(prompt) for one in names)
        assert tokenizer.decode(reply) == f"{said}<|im_end|>"
    assert len(prompt_and_reply(tokenizer, alone, no_call_tokens=3)[1]) == 3
    assert prompt_and_reply(tokenizer, absent, no_call_tokens=3)[1] == reply


def test_rows_that_cannot_be_written_are_left_out_and_told():
    tokenizer = native_tokenizer(HERMES)
    rows = [row for number in range(4) for row in rows_of(an_example(number), False)]
    broken = rows[2].model_copy(update={"response": "Action: none"})
    table = to_table([rows[0], broken, rows[3]], TrainRow).select(ROW_COLUMNS)
    tokenised = RowTokenizer(tokenizer, 2048, native=form_of(tokenizer)).tokenise_table(table)
    shard, _ = make_shard(tokenised, "train", 0, seed=1)
    assert (shard.rows, shard.refused, shard.skipped) == (2, 1, 0)
    assert shard.first_refused.startswith(f"{broken.row_id!r}: it does not begin with 'Action: ")
    with pytest.raises(StageInputError, match=f"row '{broken.row_id}' cannot be written"):
        prompt_and_reply(tokenizer, broken)


def test_tables_hold_what_single_rows_do_and_long_ones_are_skipped():
    tokenizer = native_tokenizer(HERMES)
    rows = [*rows_of(an_example(1)), *other_rows()]
    table = to_table(rows, TrainRow).select(ROW_COLUMNS)
    single = RowTokenizer(tokenizer, 2048, native=form_of(tokenizer))
    sent = pickle.loads(cloudpickle.dumps(single))  # as Ray sends it to its workers
    for row, found in zip(rows, sent.tokenise_table(table).to_pylist(), strict=True):
        assert found["input_ids"] == list(single.tokenise(row).input_ids)
        assert (found["row_id"], found["refused"]) == (row.row_id, "")
    short = RowTokenizer(tokenizer, 40, native=form_of(tokenizer)).tokenise_table(table)
    shard, _ = make_shard(short, "train", 0, seed=1)
    assert (shard.skipped, shard.refused) == (len(rows) - shard.rows, 0)
    assert shard.skipped >= 3


def test_a_base_without_tools_gets_a_template_and_what_a_server_reads_by():
    tokenizer = native_tokenizer(None)
    assert "<tool_call>" in tokenizer.chat_template
    assert tokenizer.response_template["fields"]["tool_calls"]
    given = dict(tokenizer.response_template)
    assert give_tools(tokenizer) is False
    assert tokenizer.response_template == given
    for template in (SILENT, UNEVEN):
        with pytest.raises(ToolTemplateError):
            native_tokenizer(template)


def test_a_training_without_tools_is_refused():
    with pytest.raises(ConfigError, match="there is none; prepare tools"):
        NativeForm(native_tokenizer(HERMES), {}, offers(), PROMPTS).check()

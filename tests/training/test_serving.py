"""The exported folder in plain transformers, and served to the official client."""

import json

import openai
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.core import layout
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.preparing.formatting import native_dialog
from ste_ray.core.preparing.offering import asked_row
from ste_ray.core.prompts import offered_tool
from ste_ray.core.replies.chat_form import chat_messages, chat_tool
from ste_ray.core.replies.parsing import parse_action
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.toolkens import toolken
from ste_ray.llm.local_server import running_local_model
from ste_ray.retrieval.encoder import HASHED_NGRAMS, make_encoder
from ste_ray.retrieval.offering import ToolOffers
from ste_ray.stages.base import load_prompts
from ste_ray.stages.train.inputs import lay_out
from ste_ray.stages.train.shards import write_shards_here
from tests.training.native_runs import PROMPTS, SPECS, an_example, rows_of
from tests.training.training_runs import job_of, prepared, some_rows, train

SYSTEM = load_prompts().render("act_system")


def in_tool_mode(row):
    """The row behind the system line of tool mode, as prepared rows are."""
    system, *others = row.dialog_history
    history = (system.model_copy(update={"content": SYSTEM}), *others)
    return row.model_copy(update={"dialog_history": history})


ROWS = [in_tool_mode(row) for row in some_rows() if row.split == "train"]
CALL = next(row for row in ROWS if row.kind == "tool_call" and "%%" in row.tool)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A model that knows a few requests by heart."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("run")
    rows = ROWS[:12]
    rows += [CALL] if CALL.row_id not in {row.row_id for row in rows} else []
    settings = {"max_steps": 400, "examples_per_step": 13, "learning_rate": 0.02}
    records, _ = train(job_of(run, rows, **settings))
    assert records[-1].loss < 0.01
    return run / layout.TUNED_MODEL


def messages():
    return chat_messages(CALL.dialog_history)


def test_plain_transformers_generates_the_call_with_its_toolken(model_folder):
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    prompt = tokenizer.apply_chat_template(
        messages(), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        output = model.generate(**prompt, max_new_tokens=64)
    answer = output[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer, skip_special_tokens=True) == CALL.response
    assert toolken(CALL.tool) in CALL.response
    assert answer[-1] == tokenizer.eos_token_id


def test_the_official_client_gets_it_from_a_server(model_folder):
    with running_local_model(str(model_folder)) as url:
        client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        reply = client.chat.completions.create(
            model=str(model_folder), messages=messages(), max_tokens=64, temperature=0
        )
    # transformers reads calls whether or not tools are offered.
    (call,) = reply.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == parsed_call(CALL)


def test_a_client_that_sends_tools_gets_tool_calls_of_toolkens(model_folder):
    (name, arguments), asked = parsed_call(CALL), CALL.dialog_history[-1].content
    function = {"name": CALL.tool, "description": "d", "parameters": {"type": "object"}}
    said = [{"role": "user", "content": asked}]
    fields = {
        "model": str(model_folder),
        "tools": [{"type": "function", "function": function}],
        "max_tokens": 64,
        "temperature": 0,
    }
    with running_local_model(str(model_folder)) as url:
        client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        choice = client.chat.completions.create(messages=said, **fields).choices[0]
        (call,) = choice.message.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == (name, arguments)
        assert choice.finish_reason == "tool_calls"
        assert not choice.message.content
        pieces = [
            piece.choices[0]
            for piece in client.chat.completions.create(messages=said, stream=True, **fields)
            if piece.choices
        ]
        calls = [one for each in pieces for one in each.delta.tool_calls or []]
        told = "".join(one.function.arguments or "" for one in calls)
        assert (calls[0].function.name, json.loads(told)) == (name, arguments)


def parsed_call(row):
    """The call that a row trains."""
    read = parse_action(row.response, [row.tool])
    return read.tool, json.loads(read.arguments_text)


NASTY = ["abc", 'say "hi" {x}', "a\\b\nc: é☃ </b>"]
NATIVE = {
    "format": "native",
    "tools_per_row": 2,
    "max_tokens": 2048,
    "model": {"vocab_size": 600, "hidden_size": 64, "num_heads": 2, "max_positions": 2048},
}


@pytest.fixture(scope="module")
def native_folder(tmp_path_factory):
    """A model that natively calls what it knows by heart, with the requests and their tools."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("run")
    examples = [an_example(number, value) for number, value in enumerate(NASTY)]
    rows = [row for one in examples for row in rows_of(one)]
    section = {"max_steps": 110, "examples_per_step": 6, "learning_rate": 0.006}
    context, _ = prepared(run, rows, list(SPECS), batch_tokens=8192, **NATIVE, **section)
    stored = [spec.model_dump(mode="json") for spec in SPECS.values()]
    context.store.write_json(layout.TOOLS, stored)
    records, _ = train(lay_out(context, write_shards_here))
    assert records[-1].loss < 0.02
    offers = ToolOffers(make_encoder(HASHED_NGRAMS), list(SPECS.values()), 2, seed=5)
    asked = []
    for example in examples:
        (names,) = offers.of([asked_row(rows_of(example)[0])])
        tools = [chat_tool(offered_tool(SPECS[one]), safe_name(one)) for one in names]
        asked.append((example, native_dialog(example.query, (), PROMPTS), tools))
    return run / layout.TUNED_MODEL, asked


def called_here(folder, asked):
    """What the model calls when this project asks it: names and arguments."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    chat = NativeChat(tokenizer, name_of=safe_name)
    found = []
    for _, dialog, tools in asked:
        prompt = torch.tensor([chat.prompt(dialog, tools)])
        mask = torch.ones_like(prompt)
        ids = model.generate(prompt, attention_mask=mask, max_new_tokens=120)
        read = read_reply(tokenizer.decode(ids[0, prompt.shape[1] :]), chat.facts.form)
        found.append([(one.name, json.loads(one.arguments_text)) for one in read.calls])
    return found


def test_a_natively_trained_model_is_served_with_its_calls(native_folder):
    folder, asked = native_folder
    here = called_here(folder, asked)
    wanted = [[(safe_name(one.tool), json.loads(one.arguments_json))] for one, _, _ in asked]
    assert here == wanted
    with running_local_model(str(folder)) as url:
        client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        for (example, dialog, tools), expected in zip(asked, here, strict=True):
            fields = {"model": str(folder), "tools": tools, "max_tokens": 120, "temperature": 0}
            said = chat_messages(dialog)
            choice = client.chat.completions.create(messages=said, **fields).choices[0]
            assert choice.finish_reason == "tool_calls"
            calls = [
                (one.function.name, json.loads(one.function.arguments))
                for one in choice.message.tool_calls
            ]
            assert calls == expected
            pieces = [
                piece.choices[0]
                for piece in client.chat.completions.create(messages=said, stream=True, **fields)
                if piece.choices
            ]
            names = [one for each in pieces for one in each.delta.tool_calls or []]
            told = "".join(one.function.arguments or "" for one in names)
            assert [(names[0].function.name, json.loads(told))] == expected
            assert pieces[-1].finish_reason == "tool_calls"
            (call,) = choice.message.tool_calls
            result = {"role": "tool", "tool_call_id": call.id, "content": example.observation}
            answered = client.chat.completions.create(
                messages=[*said, choice.message.to_dict(), result], **fields
            )
            assert answered.choices[0].message.content == example.final_answer
            assert not answered.choices[0].message.tool_calls

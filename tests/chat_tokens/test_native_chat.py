"""Conversations with tools as token ids: contents stay text, and labels are what is to be said."""

from __future__ import annotations

import json
import re
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.chat_tokens.native.own_template import template_with_tools
from ste_ray.chat_tokens.native.template_tools import tools_of
from ste_ray.chat_tokens.rendering import render
from ste_ray.core.effects import OfferedTool
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.records import Message, MessageCall
from ste_ray.core.replies.chat_form import chat_tool
from ste_ray.errors import NoToolsError, ToolTemplateError
from tests.byte_models import byte_tokenizer
from tests.native_templates import (
    DESCRIBED,
    GEMMA,
    HEADERS,
    HERMES,
    MISTRAL_LIST,
    NO_SYSTEM,
    NO_TOOLS,
    OTHER_SHAPES,
    SHAPES,
    SILENT,
    UNEVEN,
)

SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|call|>", "[TOOL_CALLS]", "<end_of_turn>"]
PLAIN = ["<tool_call>", "</tool_call>", "<think>", "</think>", "<escape>"]
NASTY = [*SPECIAL, *PLAIN, "[/INST]", "<tool_response>", '"', "\\", "\n", "{", "é", "東", " a"]
WRITTEN = (
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome", "n": 2}}\n</tool_call>'
)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "n": {"type": "integer"}}}


def tool(name="get_weather", description="Tells the weather."):
    offered = OfferedTool(name=name, description=description, parameters_json=json.dumps(SCHEMA))
    return chat_tool(offered, name)


def a_call(arguments, identity="call_1", name="get_weather"):
    return MessageCall(id=identity, name=name, arguments_text=json.dumps(arguments))


def talk(city="Rome", result="warm", final="It is warm.", request="How is it in Rome?"):
    return [
        Message(role="user", content=request),
        Message(role="assistant", content="", tool_calls=(a_call({"city": city, "n": 2}),)),
        Message(role="tool", content=result, tool_call_id="call_1"),
        Message(role="assistant", content=final),
    ]


@cache
def tokenizer(template):
    wrapped = byte_tokenizer(["the weather in Rome is warm"], 300, template, ends=SPECIAL[:2])
    wrapped.add_special_tokens({"additional_special_tokens": SPECIAL[2:]})
    wrapped.add_tokens([AddedToken(text, normalized=False) for text in PLAIN])
    return wrapped


def labels_of(chat, dialog, offered):
    """Return the texts of the labels, one a message, and the prompt of the last."""
    decode = tokenizer(HERMES).decode
    found, prompt = [], ""
    for number, message in enumerate(dialog):
        if message.role == "assistant":
            made = chat.example(dialog[: number + 1], offered)
            start = made.is_label.index(True)
            assert made.is_label == [place >= start for place in range(len(made.input_ids))]
            assert made.input_ids[:start] == chat.prompt(dialog[:number], offered)
            found.append(decode(made.input_ids[start:]))
            prompt = decode(made.input_ids[:start])
    return found, prompt


@pytest.mark.parametrize("shape", SHAPES)
def test_a_prompt_is_what_the_template_writes(shape):
    chat = NativeChat(tokenizer(SHAPES[shape]))
    text = chat.text(talk()[:3], [tool()])
    assert tokenizer(HERMES).decode(chat.prompt(talk()[:3], [tool()])) == text
    assert "get_weather" in text
    assert "warm" in text


@pytest.mark.parametrize("shape", SHAPES)
def test_labels_are_what_the_assistant_says_and_what_ends_it(shape):
    chat = NativeChat(tokenizer(SHAPES[shape]))
    (call, final), rest = labels_of(chat, talk(), [tool()])
    reply = read_reply(call, chat.facts.form, {"get_weather": SCHEMA})
    assert [json.loads(one.arguments_text) for one in reply.calls] == [{"city": "Rome", "n": 2}]
    assert "It is warm." in final
    assert "It is warm." not in rest
    assert final.endswith(chat.facts.form.end_of_turn.strip())
    assert rest.count("How is it in Rome?") == 1
    assert "Tells the weather." in rest or shape == "gemma"


def test_an_example_begins_as_at_inference_where_the_template_closes_reasoning():
    reply = '{{ m.content or "" }}{% for call'
    assert reply.replace('"', "'") in HERMES
    closing = HERMES.replace(reply.replace('"', "'"), "<think></think>{% for call").replace(
        "assistant\n{% endif %}", "assistant\n</think>{% endif %}"
    )
    chat = NativeChat(tokenizer(closing))
    made = chat.example(talk()[:2], [tool()])
    number = made.is_label.index(True)
    decode = tokenizer(HERMES).decode
    assert decode(made.input_ids[:number]).endswith("assistant\n</think>")
    assert decode(made.input_ids[number:]) == f"{WRITTEN}<|im_end|>"
    unclosed = HERMES.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
    with pytest.raises(ToolTemplateError, match="opens reasoning"):
        NativeChat(tokenizer(unclosed)).example(talk()[:2], [tool()])
    moved = SHAPES["mistral args"].replace("m == users | last", "loop.last")
    with pytest.raises(ToolTemplateError, match="is not read back"):
        NativeChat(tokenizer(moved)).example(talk()[:2], [tool()])


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_no_content_becomes_structure(shape, data):
    chat = NativeChat(tokenizer(SHAPES[shape]))
    texts = st.lists(st.sampled_from(NASTY), max_size=5).map("".join)
    result, request, described = (data.draw(texts, label=one) for one in ("result", "ask", "tool"))
    made = chat.prompt(
        talk(result=result, request=f"x{request}y")[:3], [tool("get_weather", described)]
    )
    plain = chat.prompt(talk(result="r", request="xy")[:3], [tool("get_weather", "d")])
    marks = set(tokenizer(HERMES).added_tokens_decoder)
    assert [one for one in made if one in marks] == [one for one in plain if one in marks]


@pytest.mark.parametrize("shape", [*SHAPES, "described", "own"])
@settings(max_examples=12, deadline=None)
@given(
    city=st.lists(st.sampled_from(NASTY), max_size=5).map("".join),
    answer=st.lists(st.sampled_from(NASTY), max_size=5).map("".join),
)
def test_what_is_said_is_learned_as_it_is_or_refused_in_one_line(shape, city, answer):
    template = {"described": DESCRIBED, "own": own_template(NO_TOOLS), **SHAPES}[shape]
    chat = NativeChat(tokenizer(template))
    try:
        (call, final), _ = labels_of(chat, talk(city=city, final=f"x{answer}y"), [tool()])
    except ToolTemplateError as error:
        told = str(error)
        call = final = ""
    if not call:
        assert "\n" not in told
        # Where arguments are JSON, any text can be written; a tag of reasoning may be taken off.
        assert shape in OTHER_SHAPES or "think>" in f"{city}{answer}"
        return
    reply = read_reply(call, chat.facts.form, {"get_weather": SCHEMA})
    assert reply.problem == ""
    assert [json.loads(one.arguments_text) for one in reply.calls] == [{"city": city, "n": 2}]
    assert "".join(f"x{answer}y".split()) in "".join(final.split())


@cache
def own_template(base):
    return template_with_tools(tokenizer(base))


def test_special_tokens_in_arguments_are_learned_as_text():
    chat = NativeChat(tokenizer(HERMES))
    made = chat.example(talk(city="<|im_end|>")[:2], [tool()])
    end = tokenizer(HERMES).convert_tokens_to_ids("<|im_end|>")
    labels = [one for one, is_label in zip(made.input_ids, made.is_label, strict=True) if is_label]
    assert labels.count(end) == 1
    assert labels[-1] == end
    assert chat.stop_ids() == (end,)
    assert chat.kept_tokens() == {"<tool_call>", "</tool_call>", "<|im_end|>"}


def test_marks_of_the_template_change_no_label():
    marked = HERMES.replace(
        "{{ m.content }}<|im_end|>\n{% else %}<|im_start|>assistant\n",
        "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
        "{{ '\n' }}{% else %}{{ m.content }}<|im_end|>\n{% endif %}{% else %}"
        "<|im_start|>assistant\n{% generation %}",
    ).replace(
        "<|im_end|>\n{% endif %}{% endfor %}",
        "<|im_end|>{% endgeneration %}{{ '\n' }}{% endif %}{% endfor %}",
    )
    assert marked.count("generation %}") == 4
    for dialog in (talk()[:2], talk()):
        marks, plain = (
            NativeChat(tokenizer(one)).example(dialog, [tool()]) for one in (marked, HERMES)
        )
        assert marks == plain


def test_what_a_template_asks_for_is_given():
    facts = tools_of(tokenizer(MISTRAL_LIST))
    assert facts.ids == "nine letters or digits"
    assert not facts.system
    text = NativeChat(tokenizer(MISTRAL_LIST)).text(talk()[:3], [tool()])
    (written,) = {part.split('"')[0] for part in text.split('"id": "')[1:]}
    assert f'"call_id": "{written}"' in text
    assert len(written) == 9
    gemma = NativeChat(tokenizer(GEMMA))
    dialog = [Message(role="system", content="Be brief."), *talk()]
    assert "user\nBe brief.\n\nHow is it" in gemma.text(dialog, [tool()])
    assert tools_of(tokenizer(HERMES)).system


@pytest.mark.parametrize("shape", ["bare", "channels", "hermes"])
def test_several_calls_of_a_message(shape):
    chat = NativeChat(tokenizer(SHAPES[shape]))
    first, second = a_call({"city": "Rome"}, "call_a"), a_call({"city": "Oslo"}, "call_b")
    dialog = [
        Message(role="user", content="Compare."),
        Message(role="assistant", content="", tool_calls=(first, second)),
        Message(role="tool", content="warm", tool_call_id="call_a"),
        Message(role="tool", content="cold", tool_call_id="call_b"),
        Message(role="assistant", content="Rome is warmer."),
    ]
    decode = tokenizer(HERMES).decode
    texts = []
    for shown in (dialog[:2], dialog):
        made = chat.example(shown, [tool()])
        start = made.is_label.index(True)
        texts += [decode(made.input_ids[:start]), decode(made.input_ids[start:])]
    _, called, rest, answered = texts
    assert rest.index("warm") < rest.index("cold")
    assert "Oslo" in called
    # Where a message holds one call, the others are messages before it.
    assert ("Rome" in called) == (shape == "hermes")
    assert rest.count('"Rome"') == rest.count('"Oslo"') == 1
    assert "Rome is warmer." in answered


def test_a_form_that_is_only_described_is_used():
    chat = NativeChat(tokenizer(DESCRIBED))
    assert chat.facts.source == "described"
    (call, final), rest = labels_of(chat, talk(), [tool()])
    assert call == f"{WRITTEN}<|im_end|>"
    assert final == "It is warm.<|im_end|>"
    assert "<|im_start|>user\nwarm<|im_end|>" in rest


def test_what_cannot_be_read_is_refused_in_one_line():
    with pytest.raises(NoToolsError, match=r"knows no tools.*\(calls are not written\)") as caught:
        tools_of(tokenizer(NO_TOOLS))
    assert "\n" not in str(caught.value)
    with pytest.raises(ToolTemplateError, match="shows tools, but how it writes calls") as caught:
        tools_of(tokenizer(SILENT))
    assert not isinstance(caught.value, NoToolsError)
    lossy = HERMES.replace("f.arguments | tojson", "f.arguments | tojson | replace('東', '?')")
    with pytest.raises(ToolTemplateError, match="is read as"):
        NativeChat(tokenizer(lossy))
    bare = tokenizer(HERMES).__class__(tokenizer_object=tokenizer(HERMES).backend_tokenizer)
    bare.chat_template = None
    with pytest.raises(NoToolsError, match="no chat template"):
        tools_of(bare)


@pytest.mark.parametrize("base", [NO_TOOLS, HEADERS, NO_SYSTEM, None])
def test_our_own_template_keeps_the_turns_of_the_base(base):
    own = template_with_tools(tokenizer(base))
    user, answer = Message(role="user", content="a"), Message(role="assistant", content="b")
    more = [user, answer, Message(role="user", content="c")]
    for dialog in ([user], more):
        was = NativeChat(tokenizer(own)).text(dialog, [])
        if base is not None:
            assert was == render(tokenizer(base), dialog, add_generation_prompt=True)
    chat = NativeChat(tokenizer(own))
    assert chat.facts.form.opening == "<tool_call>\n"
    assert chat.facts.results
    assert chat.facts.system
    (call, final), rest = labels_of(chat, talk(), [tool()])
    assert call.lstrip().startswith(WRITTEN)
    assert final.strip().startswith("It is warm.")
    assert "<tool_response>\nwarm\n</tool_response>" in rest
    assert "Tells the weather." in rest


CLOSING = [
    *("<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
    *("<function-name>", "[/INST]", "<\\/tools>", "\\", "\n", "<"),
]


@pytest.mark.parametrize("base", [NO_TOOLS, HEADERS, NO_SYSTEM, None])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_a_server_renders_by_our_own_template_ends_no_block(base, data):
    own = template_with_tools(tokenizer(base))
    chat = NativeChat(tokenizer(own))
    texts = st.lists(st.sampled_from(CLOSING), max_size=5).map("".join)
    result, request, described, told = (
        data.draw(texts, label=one) for one in ("result", "ask", "tool", "system")
    )

    def written(result, request, described, told):
        system = Message(role="system", content=f"x{told}y")
        dialog = [system, *talk(result=f"x{result}y", request=f"x{request}y")[:3]]
        return dialog, [tool("get_weather", f"x{described}y")]

    dialog, offered = written(result, request, described, told)
    text, plain = chat.text(dialog, offered), chat.text(*written("", "", "", ""))
    marks = [one for one in CLOSING if one in plain and one[1:]]
    assert "</tool_response>" in marks
    assert [text.count(one) for one in marks] == [plain.count(one) for one in marks]
    # Read, nothing is lost: a backslash stands within each mark.
    kept = text.partition("<tool_response>\n")[2].partition("\n</tool_response>")[0]
    found = re.compile("|".join(map(re.escape, marks)))
    assert kept == found.sub(lambda mark: f"{mark[0][0]}\\{mark[0][1:]}", f"x{result}y")
    # ... and what is trained is what a server renders.
    assert tokenizer(own).decode(chat.prompt(dialog, offered)) == text


def test_a_base_whose_turns_are_uneven_gets_no_template():
    with pytest.raises(ToolTemplateError, match="turns are written in one way"):
        template_with_tools(tokenizer(UNEVEN))


@pytest.mark.parametrize("template", ["hermes", "phi", "mistral list", "mistral args", "described"])
def test_transformers_reads_what_models_write(template, tmp_path):
    chat = NativeChat(tokenizer({**SHAPES, "described": DESCRIBED}[template]))
    saved = tokenizer(HERMES).__class__(tokenizer_object=tokenizer(HERMES).backend_tokenizer)
    saved.response_template = chat.response_template()
    saved.save_pretrained(tmp_path)
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    for dialog, wanted in ((talk()[:2], [{"city": "Rome", "n": 2}]), (talk(), [])):
        made = chat.example(dialog, [tool()])
        number = made.is_label.index(True)
        reply = loaded.parse_response(made.input_ids[number:], prefix=made.input_ids[:number])
        calls = [one["function"] for one in reply.get("tool_calls", ())]
        assert calls == [{"name": "get_weather", "arguments": one} for one in wanted]
        assert reply.get("content", "") == ("" if wanted else "It is warm.")


@pytest.mark.parametrize("shape", ["bare", "channels", "gemma", "elements", "keywords"])
def test_a_form_that_transformers_cannot_be_told_gets_no_response_template(shape):
    assert NativeChat(tokenizer(SHAPES[shape])).response_template() is None

"""Templates that do not show the tools that they are given get lines that let them."""

from __future__ import annotations

import json
from functools import cache

import pytest
from transformers import PreTrainedTokenizerFast

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.chat_tokens.native.giving import give_tools
from ste_ray.chat_tokens.native.own_template import template_with_tools
from ste_ray.chat_tokens.native.template_tools import tools_of
from ste_ray.chat_tokens.rendering import render
from ste_ray.core.effects import OfferedTool
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.records import Message, MessageCall
from ste_ray.core.replies.chat_form import chat_tool
from ste_ray.errors import NoToolsError, ToolTemplateError
from tests.byte_models import byte_tokenizer
from tests.native_templates import DESCRIBED, ENDED, GATED, NO_TOOLS, OTHER_NAMES, TOLD

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = chat_tool(
    OfferedTool(
        name="get_weather",
        description="Tells the weather.",
        parameters_json=json.dumps(SCHEMA),
    ),
    "get_weather",
)
SYSTEM = Message(role="system", content="Be brief.")
CALL = MessageCall(id="call_1", name="get_weather", arguments_text='{"city": "Rome"}')
TALK = [
    Message(role="user", content="How is it in Rome?"),
    Message(role="assistant", content="", tool_calls=(CALL,)),
    Message(role="tool", content="warm", tool_call_id="call_1"),
    Message(role="assistant", content="It is warm."),
]
# As ``TOLD``, and it takes no system message.
REFUSING = TOLD.replace(
    "{% if m.role == 'system' %}{{ m.content }}{% endif %}",
    "{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}",
)


@cache
def tokenizer(template) -> PreTrainedTokenizerFast:
    return byte_tokenizer(["the weather in Rome is warm"], 300, template, ends=["<s>", "</s>"])


@pytest.mark.parametrize("template", [GATED, TOLD, REFUSING])
def test_tools_that_a_template_leaves_out_stand_in_its_first_message(template):
    chat = NativeChat(tokenizer(template))
    takes_system = template != REFUSING
    assert chat.facts.system is takes_system
    for dialog in (TALK[:1], [SYSTEM, *TALK[:1]]):
        text = chat.text(dialog, [TOOL])
        assert text.count("Tells the weather.") == 1
        assert text.count("Be brief.") == (len(dialog) == 2)
        assert text.index("Tells the weather.") < text.index("How is it in Rome?")
        assert text.endswith("How is it in Rome?<｜Assistant｜>")
        assert text.startswith("<s>" if takes_system else "<s><｜User｜>")
    shown, _, _ = text.partition("How is it in Rome?")
    assert '<｜tool▁sep｜>function-name\n```json\n{"argument-name": "value"}\n```' in shown


@pytest.mark.parametrize("template", [GATED, TOLD])
def test_without_tools_nothing_is_written_otherwise(template):
    chat = NativeChat(tokenizer(template))
    for dialog in (TALK[:1], [SYSTEM, *TALK[:1]]):
        assert chat.text(dialog, []) == render(
            tokenizer(template), dialog, add_generation_prompt=True
        )


def test_a_call_is_written_where_there_must_be_no_content():
    chat = NativeChat(tokenizer(GATED))
    assert chat.facts.null_content
    assert not NativeChat(tokenizer(TOLD)).facts.null_content
    for text in ("", "I look it up."):
        called = Message(role="assistant", content=text, tool_calls=(CALL,))
        written = chat.text([TALK[0], called], [TOOL], add_generation_prompt=False)
        _, _, reply = written.rpartition("How is it in Rome?<｜Assistant｜>")
        found = read_reply(reply, chat.facts.form)
        assert [(one.name, one.arguments_text) for one in found.calls] == [
            ("get_weather", '{"city": "Rome"}')
        ]
        # Beside a text it would write no call.
        assert text == "" or text not in written


def test_tools_are_given_by_the_name_that_a_template_has_for_them():
    chat = NativeChat(tokenizer(OTHER_NAMES))
    assert chat.facts.source == "described"
    assert chat.facts.form.opening == "<tool_call>\n"
    text = chat.text(TALK[:3], [TOOL])
    assert text.count("Tells the weather.") == 1
    assert "In Python" not in text
    assert '"arguments": {"city": "Rome"}' in text
    for dialog in (TALK[:1], [SYSTEM, *TALK[:1]]):
        assert chat.text(dialog, []) == render(
            tokenizer(OTHER_NAMES), dialog, add_generation_prompt=True
        )


def test_no_other_variable_is_taken_for_the_tools():
    shown = NO_TOOLS.replace("{% for m", "{{ bos_token }}{{ today }}{{ style }}{% for m", 1)
    with pytest.raises(NoToolsError, match="knows no tools"):
        tools_of(tokenizer(shown))


@pytest.mark.parametrize("template", [GATED, TOLD, OTHER_NAMES])
def test_a_training_keeps_the_lines_so_that_servers_write_the_same_prompts(template):
    own = tokenizer(template).__class__(tokenizer_object=tokenizer(template).backend_tokenizer)
    own.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    own.chat_template = template
    assert give_tools(own) is True
    assert own.chat_template.endswith(template)
    served = own.apply_chat_template(
        [{"role": "user", "content": "How is it in Rome?"}],
        tools=[TOOL],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert served == NativeChat(tokenizer(template)).text(TALK[:1], [TOOL])
    kept = own.chat_template
    assert give_tools(own) is False
    assert own.chat_template == kept
    described = own.__class__(tokenizer_object=tokenizer(template).backend_tokenizer)
    described.chat_template = DESCRIBED
    assert give_tools(described) is False


def test_what_a_base_writes_behind_the_last_message_alone_is_no_part_of_its_turns():
    own = template_with_tools(tokenizer(ENDED))
    more = [TALK[0], Message(role="assistant", content="b"), Message(role="user", content="c")]
    for dialog in ([SYSTEM, *more], more, more[:1]):
        was = render(tokenizer(ENDED), dialog, add_generation_prompt=True)
        assert NativeChat(tokenizer(own)).text(dialog, []) == was
    chat = NativeChat(tokenizer(own))
    text = chat.text(TALK, [TOOL], add_generation_prompt=False)
    assert text.endswith("<|assistant|>It is warm.<|end|>")
    assert "<tool_response>\nwarm\n</tool_response><|end|><|assistant|>" in text
    assert "</s>" not in text


DATED = NO_TOOLS.replace(
    "{% for m",
    "<|im_start|>system\nToday is {{ strftime_now('%d %B %Y') }} ({{ strftime_now(\"%Y\") }})."
    "<|im_end|>\n{% for m",
    1,
)


def test_a_template_of_our_own_writes_the_date_of_the_day():
    own = template_with_tools(tokenizer(DATED))
    for day in ("1 May", "2 June"):
        macro = f"{{%- macro strftime_now(format) -%}}{day} {{{{ format }}}}{{%- endmacro %}}\n"
        (written,) = {
            NativeChat(tokenizer(own), macro + template).text(TALK[:1], [])
            if template == own
            else render(tokenizer(DATED), TALK[:1], macro + template, add_generation_prompt=True)
            for template in (own, DATED)
        }
        assert f"Today is {day} %d %B %Y ({day} %Y)." in written


@pytest.mark.parametrize("change", [" | upper", "[:4]"])
def test_a_base_that_rewrites_the_date_gets_no_template(change):
    rewriting = DATED.replace("('%d %B %Y')", f"('%d %B %Y'){change}")
    with pytest.raises(ToolTemplateError, match="depend on more than their roles"):
        template_with_tools(tokenizer(rewriting))

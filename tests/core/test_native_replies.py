"""Calls that stand in a text are noticed, and answers are not taken for them."""

import pytest

from ste_ray.core.effects import AskModel, ModelReply, OfferedTool, Sampling
from ste_ray.core.records import Message, MessageCall
from ste_ray.core.replies.native import call_in_text, settled
from ste_ray.core.texts.safe_names import safe_name

NAME = "get weather"
NAMES = (NAME, safe_name(NAME))
TOOL = OfferedTool(name=NAME, description="", parameters_json="{}")


def question(**fields):
    messages = (Message(role="user", content="hi"),)
    return AskModel(role="explorer", messages=messages, sampling=Sampling(), **fields)


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "x", "arguments": {}}\n</tool_call>',
        'Sure.\n<function=get_weather>{"a": 1}</function>',
        '[TOOL_CALLS][{"name": "x", "arguments": {}}]',
        "<|python_tag|>get_weather.call(a=1)",
        "<｜tool▁calls▁begin｜>function",
        "<start_function_call>call:x{a:1}<end_function_call>",
        '<invoke name="x"><parameter name="a">1</parameter></invoke>',
        f'{{"name": "{NAMES[1]}", "arguments": {{"a": 1}}}}',
        f'[{{"function": {{"name": "{NAME}", "arguments": "{{}}"}}}}]',
        f'I call it:\n```json\n{{"name": "{NAME}", "parameters": {{}}}}\n```',
        f"{NAMES[1]}(a=1)",
        f"[{NAMES[1]}(a=1)]",
        f"functions.{NAMES[1]}({{}})",
        f'Thought: now\nAction: {NAME}\nAction Input: {{"a": 1}}',
    ],
)
def test_calls_in_texts_are_noticed(text):
    assert call_in_text(text, NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It is 3 degrees.",
        "a < b and c > d",
        '{"temperature": 3}',
        f'{{"name": "{NAME}"}}',
        '{"name": "Ada", "arguments": "none"}',
        f"The tool {NAME} says (so it seems) 3.",
        "Take an umbrella [1].",
        "The element <b>tool</b> is bold.",
    ],
)
def test_answers_are_no_calls(text):
    assert not call_in_text(text, NAMES)


def test_names_are_the_tools_true_ones_again():
    calls = tuple(
        MessageCall(id=str(n), name=name, arguments_text="{}")
        for n, name in enumerate((NAMES[1], "other", NAME))
    )
    reply = settled(ModelReply(text="", calls=calls), question(tools=(TOOL,)))
    assert [one.name for one in reply.calls] == [NAME, "other", NAME]
    assert reply.oddities == ()


def test_what_is_odd_about_a_reply_shows_from_its_request():
    called = ModelReply(text="", calls=(MessageCall(id="a", name=NAMES[1], arguments_text="{}"),))
    text = ModelReply(text="It is 3.")

    def kinds(reply, **fields):
        return [one.kind for one in settled(reply, question(**fields)).oddities]

    assert kinds(called) == ["uncalled_for"]
    assert kinds(called, tools=(TOOL,), tool_choice="none") == ["uncalled_for"]
    assert kinds(called, tools=(TOOL,), tool_choice="required") == []
    assert kinds(text, tools=(TOOL,)) == []
    assert kinds(text, tools=(TOOL,), tool_choice="required") == ["not_called"]
    assert kinds(text) == []
    written = ModelReply(text=f"{NAMES[1]}()")
    assert kinds(written, tools=(TOOL,)) == ["call_in_text"]
    assert kinds(written, tools=(TOOL,), tool_choice="none") == []
    refused = ModelReply(text="", finish_reason="refused")
    assert kinds(refused, tools=(TOOL,), tool_choice="required") == []

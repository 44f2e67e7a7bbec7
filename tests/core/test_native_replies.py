"""Calls that stand in a text are noticed, and answers are not taken for them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.effects import AskModel, ModelReply, OfferedTool, Sampling
from ste_ray.core.records import Message, MessageCall
from ste_ray.core.replies.native import distinct, settled
from ste_ray.core.replies.written_calls import call_in_text, marks_call
from ste_ray.core.texts.safe_names import safe_name

NAME = "get weather"
NAMES = (NAME, safe_name(NAME))
TOOL = OfferedTool(name=NAME, description="", parameters_json="{}")


def question(**fields):
    messages = (Message(role="user", content="hi"),)
    fields = {"role": "explorer", **fields}
    return AskModel(messages=messages, sampling=Sampling(), **fields)


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
        f"Action: {NAME}\nAction Input: {{a: 1",
        '<TOOLCALL>[{"name": "x", "arguments": {}}]</TOOLCALL>',
        '<minimax:tool_call>\n<invoke name="x">',
        '`<tool_call>{"name": "x"}</tool_call>`',
        f'I will look it up. {{"name": "{NAME}", "arguments": {{"a": 3}}}}',
        f'I will look it up.\n{{"arguments": {{"a": 3}}, "name": "{NAME}"}}\nThen I answer.',
        f'{{"name": "{NAME}", "arguments": {{"a": 3}}',
        f'Sure: {{"name": "{NAME}", "arguments": {{"a": ',
        f"{{'name': '{NAME}', 'arguments': {{'a': True, 'b': None}}}}",
        f"I call {{'name': '{NAME}', 'arguments': {{'a': True}}}}.",
        f'functools[{{"name": "{NAME}", "arguments": {{"a": 3}}}}]',
        f'{{"tool_calls": [{{"function": {{"name": "{NAME}", "arguments": "{{}}"}}}}]}}',
        f"```tool_code\n{NAMES[1]}(a=3)\n```",
        f"```python\nprint({NAMES[1]}(a='it\\'s (so)'))\n```",
        f"Sure!\n{NAMES[1]}(a=3)",
        f"Sure!\nresult = {NAMES[1]}(\n    a=3,\n)\nprint(result)",
        f"Sure!\n[{NAMES[1]}(a=3), {NAMES[1]}(a=4)]",
        f"I look.\n{NAMES[1]}(a='Ro",
        f"{NAMES[1]}(a=3), {NAMES[1]}(a=4)",
        f"{NAMES[1]}(a=3); {NAMES[1]}(a=4)  # both",
        f"`{NAMES[1]}(a=3)`",
        f"> {NAMES[1]}(a=3)",
        "<tool_call>get_weather\n<arg_key>a</arg_key>",
        "I look.\n<tool_call> get_weather",
        "<function>get_weather</function>",
        "> <tool_call> get_weather",
        "I look it up<function=get_weather>{}",
        "[TOOL_CALLS]get_weather[ARGS]{}",
        "[TOOL_CALLS] [get_weather(a=3)]",
        "Sure: <tool> {",
        f'Such: {{"name": "{NAME}", "arguments": {{"a": …}}}}.',
        f'{{"name": "{NAME}", "arguments": {{"a": …}}}} in JSON.',
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
        "Write to <toolbox@acme.com>.",
        "See <https://acme.com/tools> and <http://acme.com/function=x>.",
        "The <toolbar> and <tooltip> elements, or <multitool>.",
        "Replace <function-name> by the function, <tool name> by the tool.",
        "Models write `<tool_call>` before a call.",
        f"Use `{NAMES[1]}(a=3)` to see it; it gives 3.",
        f"The call {NAMES[1]}(a=3) gave 3 degrees.",
        f"It is 3.\n{NAMES[1]}(a=3) was asked for it.",
        f"- {NAMES[1]}(a): tells the weather",
        f'With `{{"name": "{NAME}", "arguments": {{"a": 3}}}}` I found that it is 3 degrees.',
        f'{{"name": "{NAME}", "description": "Tells it.", "parameters": {{}}}}',
        "my_get_weather_(a=3)",
        "{" * 99,
        f"{NAMES[1]}(a=3) gave 3 degrees.",
        f"{NAMES[1]}(16) = 4.",
        f"`{NAMES[1]}(16)` is 4.",
        f"{NAMES[1].upper()}(km)",
        f"{NAMES[1].capitalize()}(km): 12.3",
        f"x = {NAMES[1]}(16) = 4",
        f"{NAMES[1]}(16), {NAMES[1]}(25): 4 and 5.",
        f"[{NAMES[1]}(16), {NAMES[1]}(25)] are 4 and 5.",
        f"[{NAMES[1]}(16)](https://acme.com) is 4.",
        "The field has the type List<Tool>",
        "It is a Map<Function>\nand a List<ToolCall>.",
        "Put it inside a <function> element.",
        "The <tool_call> element holds it.",
        "[Tool calls](https://acme.com/x) tell it.",
        "See [tool calls][1].",
        f'Such a call looks like {{"name": "{NAME}", "arguments": …}} in JSON.',
    ],
)
def test_answers_are_no_calls(text):
    assert not call_in_text(text, NAMES)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        (f"Action: {NAME}", True),
        (f"It is 3.\n**Action:** `{NAME}`\nI look again.", True),
        ("Action: other\nAction Input: {}", True),
        ('Action Input: {"a": 1}', True),
        ("The alert is red.\nAction: leave the building", False),
        ("Action: leave the building\nAction: call the police", False),
        (f"Action: {NAME} says that it rains", False),
        ("Action:", False),
        ("", False),
    ],
)
def test_an_answer_calls_by_a_known_tool_or_an_input(text, calls):
    assert marks_call(text, (NAME,)) is calls


def test_names_are_the_tools_true_ones_again():
    calls = tuple(
        MessageCall(id=str(n), name=name, arguments_text="{}")
        for n, name in enumerate((NAMES[1], "other", NAME))
    )
    reply = settled(ModelReply(text="", calls=calls), question(tools=(TOOL,)))
    assert [one.name for one in reply.calls] == [NAME, "other", NAME]
    assert [one.kind for one in reply.oddities] == ["call_repeated"]


def test_the_same_call_again_is_odd_and_no_other():
    same = (
        '{"a": 1, "b": "x"}',
        ' {"b":"x", "a":1}',
        '{"a": 2, "b": "x"}',
        "{bad",
        "{bad",
        "",
        "{}",
    )
    calls = tuple(
        MessageCall(id=str(n), name="t", arguments_text=text) for n, text in enumerate(same)
    )
    assert [one.arguments_text for one in distinct(calls)] == [same[0], same[2], same[3], same[5]]
    other = MessageCall(id="9", name="u", arguments_text="{}")
    assert len(distinct((*calls, other))) == 5
    reply = settled(ModelReply(text="", calls=calls), question(tools=(TOOL,)))
    (odd,) = reply.oddities
    assert (odd.kind, odd.detail) == ("call_repeated", "3 of 7 calls")
    assert reply.calls == calls


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
    # What is asked for with calls forbidden is a request or a verdict, or the final answer.
    assert kinds(written, tools=(TOOL,), tool_choice="none") == []
    asked_at_last = {"tools": (TOOL,), "tool_choice": "none", "role": "assistant"}
    assert kinds(written, **asked_at_last) == ["call_in_text"]
    assert kinds(text, **asked_at_last) == []
    refused = ModelReply(text="", finish_reason="refused")
    assert kinds(refused, tools=(TOOL,), tool_choice="required") == []


@pytest.mark.parametrize(
    "text",
    [
        "<tool",
        "<" * 9,
        f"{NAMES[1]}(",
        '{"name": "',
        "{'a': ",
        "[`[`",
        "x = ",
        "```json\n{",
        "(" * 9,
        f"\n[{NAMES[1]}(1), ",
        "<tool> is, ",
        f'{{"name": "{NAME}", "arguments": …}} a ',
        f'{{"name": "{NAME}", "arguments": [',
    ],
)
def test_hostile_texts_take_linear_time(text):
    start = time.process_time()
    call_in_text(text * 20_000, NAMES)
    assert time.process_time() - start < 2


@given(st.text("<>{}[]()'\"`:,=\n abctool_") | st.text())
def test_no_text_is_too_much(text):
    assert call_in_text(text, NAMES) in text

"""Folders with toolkens: what servers render of OpenAI's messages, and read of replies."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import TemplateError
from transformers.utils.chat_parsing import ResponseParser

from ste_ray.chat_tokens.encoding import ChatEncoder
from ste_ray.chat_tokens.rendering import INST_TEMPLATE, render_prompt
from ste_ray.chat_tokens.served_toolkens.chat_template import with_toolkens, without_toolkens
from ste_ray.chat_tokens.served_toolkens.response_template import toolken_responses
from ste_ray.core.inferring.answering import observed_dialog
from ste_ray.core.preparing.formatting import call_text, toolken_dialog
from ste_ray.core.records import Message
from ste_ray.core.replies.parsing import FinalAnswer, ToolCall, parse_action
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.toolkens import escape_toolkens, toolken
from ste_ray.stages.base import load_prompts
from tests.byte_models import byte_tokenizer

TOOLS = ("add", "weather report", "Größe%%[v2]{{x}}'\"")
PROMPTS = load_prompts()
LINE = PROMPTS.render("act_system")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHATML
)
NASTY = [
    "<tool_add>",
    "<tool\\_x>",
    "\n",
    '"',
    "\\",
    "{",
    "}}",
    "{%",
    "Action: ",
    "é",
    "Final Answer:",
]
contents = st.lists(st.sampled_from(NASTY) | st.text(max_size=5), max_size=6).map("".join)


def a_tokenizer(template=CHATML):
    tokenizer = byte_tokenizer(["some text"], 300, template)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.add_tokens([toolken(name) for name in TOOLS])
    return tokenizer


def served(template=CHATML):
    tokenizer = a_tokenizer(template)
    tokenizer.chat_template = with_toolkens(tokenizer, TOOLS, LINE)
    return tokenizer


TOKENIZERS = [(a_tokenizer(one), served(one)) for one in (CHATML, NO_SYSTEM, INST_TEMPLATE)]


def offered(*names):
    return [{"type": "function", "function": {"name": n, "parameters": {}}} for n in names]


def ids(tokenizer, messages, tools, **options):
    text = tokenizer.apply_chat_template(
        messages, tools=tools, add_generation_prompt=True, tokenize=False, **options
    )
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@settings(deadline=None, max_examples=30)
@given(contents, st.sampled_from(TOOLS), contents, contents, st.booleans(), st.integers(0, 2))
def test_conversations_are_written_as_trained(query, tool, value, result, by_safe_name, number):
    plain, tokenizer = TOKENIZERS[number]
    encoder = ChatEncoder(plain, lambda dialog: render_prompt(plain, dialog))
    opening = toolken_dialog(query, PROMPTS)
    arguments = {"q": value, "deep": [{"n": 1.5}, None]}
    written = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    called = observed_dialog(opening, call_text(toolken(tool), written), result)
    answer = Message(role="assistant", content=f"Final Answer: {escape_toolkens(result)}")
    again = (*called, answer, Message(role="user", content=escape_toolkens(query)))

    name = safe_name(tool) if by_safe_name else tool
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": query}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": result},
        {"role": "assistant", "content": result},
        {"role": "user", "content": query},
    ]
    tools = offered(name)
    for turns, dialog in ((1, opening), (3, called), (5, again)):
        assert ids(tokenizer, messages[:turns], tools) == encoder.dialogs([dialog])[0]
    with_line = [{"role": "system", "content": LINE}, *messages]
    assert ids(tokenizer, with_line, tools) == ids(tokenizer, messages, tools)
    call["function"]["arguments"] = written  # servers that leave it as text
    assert ids(tokenizer, messages, tools) == encoder.dialogs([again])[0]


@given(contents)
@settings(deadline=None, max_examples=30)
def test_without_tools_the_prompt_is_that_of_the_base(query):
    for plain, tokenizer in TOKENIZERS:
        messages = [{"role": "user", "content": query}, {"role": "assistant", "content": "x"}]
        assert ids(tokenizer, messages, None) == ids(plain, messages, None)


def test_contents_that_look_like_tokens_stay_text():
    tokenizer = served()
    nasty = "a<|im_end|>b<eos>"
    call = {"function": {"name": "add", "arguments": {"q": nasty}}}
    messages = [
        {"role": "user", "content": nasty},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": nasty},
    ]
    found = tokenizer.decode(ids(tokenizer, messages, offered("add")))
    assert found.count("<|im_end|>") == 4
    assert "<eos>" not in found
    assert "a<\\|im_end|>b<\\eos>" in found
    written = found.split("Action Input: ")[1].split("<|im_end|>")[0]
    assert json.loads(written) == {"q": nasty}


def test_what_is_not_learned_is_described_or_refused():
    tokenizer = served()
    ask = [{"role": "user", "content": "hi"}]
    text = tokenizer.decode(ids(tokenizer, ask, offered("add", "new")))
    assert f"{LINE}\n\nTool: new\nDescription: \nParameters: {{}}<|im_end|>" in text
    assert "Tool: add" not in text
    with pytest.raises(TemplateError, match="not learned the tool 'new'"):
        ids(tokenizer, ask, offered("new"), unknown_tools="refuse")
    with pytest.raises(TemplateError, match="give 'describe' or 'refuse'"):
        ids(tokenizer, ask, offered("new"), unknown_tools="no")


def test_the_system_message_of_a_client_stands_behind_the_line():
    ask = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
    tokenizer = served()
    assert f"system\n{LINE}\n\nBe kind.<|im_end|>" in tokenizer.decode(
        ids(tokenizer, ask, offered("add"))
    )


@pytest.mark.parametrize("template", [CHATML, NO_SYSTEM, INST_TEMPLATE])
@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_parts_of_a_content_are_lines_as_vllm_joins_them(template, role):
    tokenizer = served(template)
    parts = [{"type": "text", "text": "one"}, "two", {"type": "text", "text": ""}]

    def asked(content):
        said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        said = [{"role": role, "content": content}, *said, {"role": "user", "content": "c"}]
        return ids(tokenizer, said[1:] if role == "assistant" else said, offered("add", "new"))

    assert asked(parts) == asked("one\ntwo\n")


def test_the_line_and_the_tools_stand_before_the_first_that_a_user_says():
    """Where the base knows no system message, and the conversation begins with an answer."""
    tokenizer = served(NO_SYSTEM)
    said = [
        {"role": "assistant", "content": "Welcome."},
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hi"},
        {"role": "user", "content": "there"},
    ]
    shown = tokenizer.decode(ids(tokenizer, said, offered("add", "new")))
    assert "assistant\nFinal Answer: Welcome.<|im_end|>" in shown
    begun = shown.partition("user\n")[2]
    assert begun.startswith(f"{LINE}\n\nTool: new\n")
    assert "\n\nBe kind.\n\nhi<|im_end|>" in begun
    assert shown.count(LINE) == 1
    with pytest.raises(TemplateError, match="without a message of a user"):
        ids(tokenizer, said[:2], offered("new"))


def test_a_later_round_has_the_toolkens_of_its_own():
    tokenizer = served()
    first = tokenizer.chat_template
    assert without_toolkens(first) == CHATML
    tokenizer.chat_template = "{% set unknown_tools = 'refuse' %}" + first
    again = with_toolkens(tokenizer, ["add"], LINE)
    assert again.count("toolkens: begin") == 1
    tokenizer.chat_template = again
    with pytest.raises(TemplateError, match="weather report"):
        ids(tokenizer, [{"role": "user", "content": "hi"}], offered("weather report"))


def read(text, step=0):
    parser = ResponseParser(toolken_responses(["<eos>", "<|im_end|>"]), prefix="Action: <eos>")
    pieces = [text[at : at + step] for at in range(0, len(text), step)] if step else [text]
    events = [event for piece in pieces for event in parser.feed(piece)]
    message, last = parser.finalize()
    streamed = "".join(
        one["text"]
        for one in (*events, *last)
        if one["type"] == "region_chunk" and one["field"] == "content"
    )
    calls = [
        (one["function"]["name"], one["function"]["arguments"])
        for one in message.get("tool_calls", ())
    ]
    return message.get("content", ""), message.get("reasoning_content", ""), calls, streamed


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(TOOLS), contents, st.sampled_from([0, 1, 7]), st.booleans())
def test_calls_are_read_as_by_the_strict_reader(tool, value, step, thinks):
    arguments = json.dumps({"q": value, "e": "<eos>", "n": [1, None]}, ensure_ascii=False)
    text = call_text(toolken(tool), arguments)
    text = f"Thought: I think so.\n{text}" if thinks else text
    wanted = parse_action(text, TOOLS)
    assert isinstance(wanted, ToolCall)
    for behind in ("<eos>", "", "<|im_end|>\n<eos>", "\nObservation: 3\nFinal Answer: 3<eos>"):
        found = read(text + behind, step)
        assert found == ("", wanted.thought, [(wanted.tool, wanted.arguments)], "")


@settings(deadline=None, max_examples=25)
@given(st.text("ab <>:é{}", min_size=1, max_size=20), st.sampled_from([0, 1, 7]))
def test_answers_come_as_content(text, step):
    found = parse_action(f"Final Answer: {text}", ())
    said = found.text if isinstance(found, FinalAnswer) else ""
    for written in (f"Final Answer: {text}", text):
        content, thought, calls, streamed = read(f"{written}<eos>", step)
        assert (content, thought, calls) == (said, "", [])
        assert streamed.strip() == said


@pytest.mark.parametrize("step", [0, 1, 5])
def test_odd_replies_are_not_lost(step):
    assert read("Thought: hm\nso\nFinal Answer: 3<eos>", step)[:3] == ("3", "hm\nso", [])
    assert read("Action: see a doctor", step)[0] == "Action: see a doctor"
    assert read("Action: <tool_add>\nAction Input: {oops", step)[2] == [("add", "{oops")]
    two = 'Action: <tool_add>\nAction Input: {"a":1}\nAction: add\nAction Input: {}<eos>'
    assert read(two, step)[2] == [("add", {"a": 1}), ("add", {})]

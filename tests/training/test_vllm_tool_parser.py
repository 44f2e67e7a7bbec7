"""The tool parser that lies beside a trained model, against the project's own reader."""

from __future__ import annotations

import importlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ste_ray.core.preparing.formatting import call_text
from ste_ray.core.replies.parsing import FinalAnswer, ToolCall, parse_action
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.toolkens import escape_toolkens, toolken, unescape_toolkens
from tests.vllm_parser import (
    Tokenizer,
    all_splits,
    assembled,
    chat_request,
    load_plugin,
    offered,
    some_splits,
)
from tests.vllm_wheel import FOLDER

LOADED = load_plugin()
NAMES = ("x", "add_date", "get weather", "spaced  name ", "ört.v2", 'q"uote', "tool_y", "Final")

Read = tuple[str, list[tuple[str, str]]]


def parser(*names: str) -> Any:
    return LOADED.ToolkenParser(Tokenizer(NAMES), offered(*(names or NAMES)))


def whole(text: str, choice: Any = "auto") -> Read:
    request = chat_request(offered(*NAMES), choice)
    found = parser().extract_tool_calls(text, request)
    assert found.tools_called == (bool(found.tool_calls) or (found.content or "") != text)
    calls = [(call.function.name, call.function.arguments) for call in found.tool_calls]
    return found.content or "", calls


def streamed(pieces: list[str], choice: Any = "auto") -> Read:
    one = parser()
    request = chat_request(offered(*NAMES), choice)
    deltas, text = [], ""
    for piece in pieces:
        deltas.append(
            one.extract_tool_calls_streaming(text, text + piece, piece, (), (), (), request)
        )
        text += piece
    deltas.append(one.finish_streaming())
    content, calls = assembled(deltas)
    assert one.streamed_args_for_tool == [arguments for _, arguments in calls]
    assert [call["arguments"] for call in one.prev_tool_call_arr] == one.streamed_args_for_tool
    return content, calls


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def check(text: str, pieces: list[str]) -> None:
    """A stream says what the whole reply says; what is refused never becomes a complete call."""
    content, calls = whole(text)
    told, sent = streamed(pieces)
    assert (told, sent) == streamed([text])
    if calls or not sent:
        assert (told, sent) == (content, calls)
    else:
        assert content == unescape_toolkens(text.strip())
        assert told in content  # the thought, if anything
        assert not is_object(sent[-1][1])


# Replies from their parts, in any order and condition.
_BLANKS = st.sampled_from(["", " ", "\n", "\n\n", "  \n", "\t", "\r\n", "\u2003"])
_DECORATION = st.sampled_from(["", "", "", "**", "`", "```", "> ", "# ", "- ", "_", "```json\n"])
_MARKERS = st.sampled_from(
    [
        *["Action:", "Action Input:"] * 6,
        *["Thought:", "Observation:", "Final Answer:"] * 3,
        *["action input :", "ACTION：", "Final\tAnswer:", "FinalAnswer: ", "Actioninput:"],
        *["observation", "Observation", "Action", "Fin", "Acti:", "Action Input", "thought"],
    ]
)
_NAMES = st.sampled_from([*NAMES, "unknown", "", "spaced name"]).flatmap(
    lambda name: st.sampled_from([name, f"<tool_{name}>", f"`{name}`", f'"<tool_{name}>"'])
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.sampled_from(list('ab{}[]"\\\n:,<ö😀 \ud800')), max_size=6)
    | st.sampled_from(["Observation: x", "<tool_x>", "Action Input:"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "ü", "Action: x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
_JSON = st.builds(
    json.dumps,
    st.dictionaries(st.sampled_from(["a", "b c"]), _VALUES, max_size=3) | _VALUES,
    ensure_ascii=st.booleans(),
    indent=st.sampled_from([None, None, 1]),
)
_BROKEN = st.sampled_from(
    [
        *["{", "}", '{"a": 1, "a": 2}', "{bad: 1}", '{"a": NaN}', '{"a": 1e999}', '{"a": "'],
        *["[" * 70, '{"a": ' * 70 + "1" + "}" * 70, '{"a":' + "1" * 5000 + "}", '{"a": "x\ny"}'],
        *["{} {}", "{}}", '"{}"', "json {}", "{'a': 1}", "{}\n"],
    ]
)
_WORDS = st.text(alphabet=st.sampled_from(list("ab :*`{\n<\\")), max_size=8) | st.sampled_from(
    ["<tool_x>", "<tool\\_x>", "<tool\\\\_", "<tool", "see a doctor"]
)
_LINE = st.builds(
    "".join,
    st.tuples(
        _BLANKS, _DECORATION, _MARKERS, _DECORATION, _BLANKS, _NAMES | _JSON | _WORDS, _BLANKS
    ),
)
_CALL = st.builds(
    "{}Action: {}\nAction Input: {}{}".format,
    st.sampled_from(["", "", "Thought: hm\n", "I look.\n", "```\n", "\n"]),
    _NAMES,
    _JSON | _BROKEN,
    st.sampled_from(["", "", "\n", "\nObservation: 1", "\nThought: so\nFinal Answer: 2", " x"]),
)
REPLIES = st.builds(
    "".join,
    st.lists(_LINE | _CALL | _BROKEN | _WORDS | _BLANKS, max_size=5),
) | st.builds("\n".join, st.lists(_CALL, min_size=1, max_size=3))


@st.composite
def split_replies(draw: st.DrawFn) -> tuple[str, list[str]]:
    text = draw(REPLIES)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return text, [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@settings(max_examples=400, deadline=None)
@given(REPLIES)
def test_a_reply_is_read_as_the_strict_reader_reads_it(text: str) -> None:
    expected = parse_action(text, set(NAMES), suggest=False)
    content, calls = whole(text)
    if isinstance(expected, ToolCall):
        assert calls == [(expected.tool, expected.arguments_text)]
        assert content == unescape_toolkens(expected.thought)
    elif isinstance(expected, FinalAnswer):
        assert not calls
        assert content.endswith(unescape_toolkens(expected.text))
        before = content.removesuffix(unescape_toolkens(expected.text)).strip()
        assert before in ("", unescape_toolkens(expected.thought))
    elif calls:
        assert expected.kind == "several_calls"
        assert len(calls) > 1
        assert all(is_object(arguments) for _, arguments in calls)
    elif expected.kind != "empty_answer":
        assert content == unescape_toolkens(text.strip())


@settings(max_examples=500, deadline=None)
@given(split_replies())
@example(
    ("Action: x\nAction Input: {}\nObservation", ["Action: x\nAction Input: {}\nObs", "ervation"])
)
def test_a_stream_says_what_the_whole_reply_says(case: tuple[str, list[str]]) -> None:
    check(*case)


# What models with toolkens write, and what goes wrong.
REPLY_EXAMPLES = (
    'Action: <tool_x>\nAction Input: {"a": "}", "b": [1]}',
    "Action: <tool_get weather>\nAction Input: {}",
    "Final Answer: It is 42.\n",
    "Final Answer:",
    "Thought: hm\nFinal Answer: 42\nObservation: no",
    "Thought: hm\nAction: x\nAction Input: {}\nObservation: 1\nFinal Answer: 2",
    "Let me see.\n\nAction: x\nAction Input: {}",
    "Let me see.\nFinal Answer: 42",
    "Plain text, <tool\\_x> and all.",
    "**Action:** x\n**Action Input:** {}",
    "Action: x Action Input: {}",
    "```\nAction: x\nAction Input: ```json\n{}\n```",
    "Action: x\nAction Input: {}\nAction: add_date\nAction Input: {}",
    "Action: x\nAction Input: {}\nThought: so\nAction: x\nAction Input: {}\n",
    "Action: x\nAction Input: {}\nAction: x",
    "Action: x\nAction Input: {} and so",
    'Action: x\nAction Input: {"a": 1, "a": 2}',
    "Action: nobody\nAction Input: {}",
    "Action: x\nAction Input: [1]",
    "Action: x",
    "Action Input: {}",
    " \n",
    "",
)


@pytest.mark.parametrize("text", REPLY_EXAMPLES)
def test_replies_in_two_and_three_pieces(text: str) -> None:
    for pieces in some_splits(text):
        check(text, pieces)


@pytest.mark.parametrize(
    "text",
    [
        "finalanswer:4",
        "action:\nx",
        "Thought:**a",
        "Thought:\na",
        "a\nThought: b",
        "<tool\\_x>",
    ],
)
def test_short_replies_in_all_pieces(text: str) -> None:
    for pieces in all_splits(text):
        check(text, pieces)


@pytest.mark.parametrize("name", NAMES)
def test_calls_are_read_as_they_are_trained(name: str) -> None:
    arguments = json.dumps({"text": "<tool_x> Observation: 5", "n": [1, None]}, ensure_ascii=False)
    text = call_text(toolken(name), arguments)
    content, ((called, sent),) = whole(text)
    assert (content, called) == ("", name)
    assert json.loads(sent) == json.loads(arguments)
    for pieces in some_splits(text):
        assert streamed(pieces) == ("", [(name, sent)])


def test_answers_are_read_as_they_are_trained() -> None:
    answer = "It is <tool_x>, or <tool\\_x>.\n\nAction: see a doctor"
    text = f"Final Answer: {escape_toolkens(answer)}"
    assert whole(text) == (answer, [])
    for pieces in some_splits(text):
        assert streamed(pieces) == (answer, [])


@pytest.mark.parametrize("name", NAMES)
def test_a_tool_is_called_as_the_client_calls_it(name: str) -> None:
    for called in {name, safe_name(name)}:
        one = parser(called)
        found = one.extract_tool_calls(
            call_text(toolken(name), "{}"), chat_request(offered(called))
        )
        assert [call.function.name for call in found.tool_calls] == [called]


@given(st.text(min_size=1))
def test_safe_names_are_those_of_the_project(name: str) -> None:
    assert LOADED.safe_name(name) == safe_name(name)


def test_only_tools_that_are_offered_are_called() -> None:
    text = call_text(toolken("x"), "{}")
    found = parser("add_date").extract_tool_calls(text, chat_request(offered("add_date")))
    assert (found.tool_calls, found.content) == ([], text)
    named = SimpleNamespace(function=SimpleNamespace(name="add_date"))
    assert whole(text, named) == (text, [])
    assert whole(text, "none") == (text, [])
    assert whole(text, "required") == ("", [("x", "{}")])


def test_names_come_before_their_arguments_and_as_soon_as_they_are_known() -> None:
    one, request = parser(), chat_request(offered(*NAMES))
    text = 'Action: <tool_x>\nAction Input: {"a": 1}'
    told = [one.extract_tool_calls_streaming("", "", char, (), (), (), request) for char in text]
    deltas = [(place, delta.tool_calls[0]) for place, delta in enumerate(told) if delta]
    assert deltas[0][0] == text.index("{")
    assert deltas[0][1].function.name == "x"
    assert deltas[0][1].id
    # Each character as it comes, but the last brace: what follows it decides.
    assert "".join(delta.function.arguments for _, delta in deltas) == '{"a": 1'
    end = one.finish_streaming()
    assert end.tool_calls[0].function.arguments == "}"
    assert one.finish_streaming() is None


def test_a_plain_answer_is_sent_as_it_comes() -> None:
    one, request = parser(), chat_request(offered(*NAMES))
    sent = [
        one.extract_tool_calls_streaming("", "", piece, (), (), (), request)
        for piece in ("It is", " warm", " today.\n", "Act", "ually")
    ]
    assert [delta and delta.content for delta in sent] == [
        "It is",
        " warm",
        " today.",
        None,
        "\nActually",
    ]
    assert one.finish_streaming() is None


@pytest.mark.parametrize("choice", ["required", "new_tool"])
def test_a_forced_call_of_an_unlearned_tool_is_bound_to_its_name(choice: str) -> None:
    tools = offered(safe_name("get weather"), "new_tool")
    named = SimpleNamespace(function=SimpleNamespace(name=choice))
    request = chat_request(tools, named if choice == "new_tool" else choice)
    one = LOADED.ToolkenParser(Tokenizer(NAMES), tools)
    tag = json.loads(one.adjust_request(request).structured_outputs.structural_tag)
    forms = tag["format"]["elements"] if choice == "required" else [tag["format"]]
    begins = [form["elements"][0]["value"] for form in forms]
    learned = [f"Action: {toolken('get weather')}\nAction Input: "] if choice == "required" else []
    assert begins == [*learned, "Action: new_tool\nAction Input: "]
    found = one.extract_tool_calls(begins[-1] + '{"a": 1}', request)
    calls = [(call.function.name, call.function.arguments) for call in found.tool_calls]
    assert calls == [("new_tool", '{"a": 1}')]


def test_the_grammar_of_a_forced_call_admits_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grammars = FOLDER / "grammars"
    if not grammars.is_dir():
        pytest.skip("no xgrammar: make third-party")
    monkeypatch.syspath_prepend(str(grammars))
    xgrammar = importlib.import_module("xgrammar")
    tools = offered(
        "x",
        safe_name("get weather"),
        parameters={
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    )
    parser = LOADED.ToolkenParser(Tokenizer(NAMES), tools)
    bound = parser.adjust_request(chat_request(tools, "required")).structured_outputs
    letters = [chr(code) for code in range(32, 127)]
    vocabulary = [*letters, "\n", toolken("x"), toolken("get weather"), "<end>"]
    compiler = xgrammar.GrammarCompiler(
        xgrammar.TokenizerInfo(
            vocabulary,
            vocab_type=xgrammar.VocabType.RAW,
            stop_token_ids=[vocabulary.index("<end>")],
        )
    )
    grammar = compiler.compile_structural_tag(bound.structural_tag)

    def admits(*tokens: str) -> bool:
        matcher = xgrammar.GrammarMatcher(grammar)
        return all(matcher.accept_token(vocabulary.index(token)) for token in tokens)

    for name in ("x", "get weather"):
        begin = [*"Action: ", toolken(name), *"\nAction Input: "]
        assert admits(*begin, *'{"a": 1}', "<end>")
        assert not admits(*begin, *'{"a": "1"')
        assert not admits(*begin, *'{"b"')
        assert not admits(*begin, "<end>")
        assert not admits(*begin, *'{"a": 1}', "\n")
    assert not admits(*"Final")
    assert not admits(*"Action: <tool_y")

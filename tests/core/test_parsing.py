"""The parser of the reply format: what it reads, what it refuses, and that it never raises."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ste_ray.core.records import canonical_json
from ste_ray.core.replies import parsing
from ste_ray.core.replies.markers import find_markers
from ste_ray.core.replies.parsing import FinalAnswer, ParseFailure, ToolCall, parse_action
from ste_ray.core.replies.strict_json import MAX_DEPTH

TOOLS = {"add_date", "Car database%%Makes", "CatchLoc%%[Group Management] API", "Español & más-1"}


def call(text: str) -> ToolCall:
    reply = parse_action(text, TOOLS)
    assert isinstance(reply, ToolCall), reply
    return reply


def failure(text: str) -> ParseFailure:
    reply = parse_action(text, TOOLS)
    assert isinstance(reply, ParseFailure), reply
    return reply


def test_a_call_with_nested_arguments_is_read_by_a_json_decoder() -> None:
    text = 'Thought: try it\nAction: add_date\nAction Input: {"b": {"c": [1, {"d": "}"}]}, "a": 2}'
    assert parse_action(text, TOOLS) == ToolCall(
        thought="try it",
        tool="add_date",
        arguments_text='{"b": {"c": [1, {"d": "}"}]}, "a": 2}',
        arguments_json='{"a":2,"b":{"c":[1,{"d":"}"}]}}',
        arguments={"a": 2, "b": {"c": [1, {"d": "}"}]}},
    )


@pytest.mark.parametrize(
    "text",
    [
        'Action: add_date\nAction Input: {"a": 1}',
        'Action: <tool_add_date> Action Input: {\n "a": 1\n}',
        'Action: <tool_add_date>\nAction Input: {"a": 1}\n',
        'Action:  `add_date` \r\nAction Input: {"a": 1}\r\n',
        'Action: "add_date"\naction input : {"a": 1}\nObservation',
        'ACTION: add_date\nACTION INPUT: {"a": 1}\n\nObservation: 3\nFinal Answer: 3',
        '**Action:** add_date\n**Action Input:** {"a": 1}',
        '**Action: add_date**\n**Action Input: {"a": 1}**',
        '- Action: add_date\n- Action Input: {"a": 1}\nThought: done',
        'Action:\nadd_date\nAction Input:\n```json\n{"a": 1}\n```',
        '```\nAction: add_date\nAction Input: {"a": 1}\n```',
        'Action: add_date\nAction Input: {"a": 1} Observation: 3',
    ],
)
def test_spellings_of_one_call(text: str) -> None:
    assert (call(text).tool, call(text).arguments_json) == ("add_date", '{"a":1}')


@pytest.mark.parametrize("name", sorted(TOOLS))
@pytest.mark.parametrize("form", ["{}", "`{}`", "'{}'", "<tool_{}>", "`<tool_{}>`"])
def test_names_with_any_characters(name: str, form: str) -> None:
    assert call(f"Action: {form.format(name)}\nAction Input: {{}}").tool == name


def test_a_name_that_is_written_as_registered_is_not_unwrapped() -> None:
    reply = parse_action("Action: 'a'\nAction Input: {}", {"'a'", "a"})
    assert isinstance(reply, ToolCall)
    assert reply.tool == "'a'"


SPACED = {"Places%%Nearby ", "Fraud API\t%%Fraud API", "Bybit%%Order  Book", "a b", "a  b"}


@pytest.mark.parametrize(
    ("written", "tool"),
    [
        ("Places%%Nearby", "Places%%Nearby "),
        ("`Places%%Nearby `", "Places%%Nearby "),
        ("<tool_Places%%Nearby >", "Places%%Nearby "),
        ("**Places%%Nearby**", "Places%%Nearby "),
        ("Fraud API %%Fraud API", "Fraud API\t%%Fraud API"),
        ("Fraud API\t%%Fraud\u00a0API", "Fraud API\t%%Fraud API"),
        ("Bybit%%Order Book", "Bybit%%Order  Book"),
        ("a b", "a b"),
        ("a  b", "a  b"),
    ],
)
def test_a_name_counts_white_space_apart(written: str, tool: str) -> None:
    reply = parse_action(f"Action: {written}\nAction Input: {{}}", SPACED)
    assert isinstance(reply, ToolCall), reply
    assert reply.tool == tool


@pytest.mark.parametrize("written", ["a   b", "ab", "Places%%nearby", "Places %%Nearby", "Bybit"])
def test_a_name_that_differs_in_more_or_leaves_a_choice_is_unknown(written: str) -> None:
    reply = parse_action(f"Action: {written}\nAction Input: {{}}", SPACED)
    assert isinstance(reply, ParseFailure)
    assert (reply.kind, reply.tool) == ("unknown_tool", written)


def test_a_marker_within_a_line_or_a_json_string_is_none() -> None:
    arguments = '{"q": "Final Answer: no\\nAction: x"}'
    reply = call(f"Thought: the Final Answer: is far\nAction: add_date\nAction Input: {arguments}")
    assert reply.thought == "the Final Answer: is far"
    assert json.loads(reply.arguments_json) == {"q": "Final Answer: no\nAction: x"}


def test_what_comes_first_counts() -> None:
    action = "Action: add_date\nAction Input: {}"
    imagined = f"{action}\nObservation: 3\nThought: ok\nFinal Answer: 3"
    assert call(imagined).arguments_text == "{}"
    assert call(f"{action}\nFinal Answer: 3").tool == "add_date"
    assert call(f"{action}\nObservation: 3\n{action}").tool == "add_date"
    assert parse_action(f"Final Answer: 3\nThought: next\n{action}", TOOLS) == FinalAnswer("", "3")


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("Thought: I know\nFinal Answer: It is 3.", "I know", "It is 3."),
        ("I know\n**Final Answer:** It is\n\n3.", "I know", "It is\n\n3."),
        ("Final Answer: 3\nObservation: no\nThought: next", "", "3"),
        ("final answer:\nAction: see a doctor", "", "Action: see a doctor"),
    ],
)
def test_final_answers(text: str, thought: str, answer: str) -> None:
    assert parse_action(text, TOOLS) == FinalAnswer(thought, answer)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", "empty", "empty"),
        (" \n\t ", "empty", "empty"),
        ("I would call add_date.", "no_action", '"Action:"'),
        ('Action Input: {"a": 1}', "no_action", 'without an "Action:"'),
        ("Action:\nAction Input: {}", "no_action", 'behind "Action:"'),
        ("Thought: x\nFinal Answer:  \n", "empty_answer", '"Final Answer:"'),
        ("Action: add_date", "no_arguments", 'no "Action Input:" follows "Action: add_date"'),
        ("Action: None\nFinal Answer: 3", "no_arguments", "Action: None"),
        ("Action: add_date\nAction Input:", "no_arguments", "write {}"),
        ("Action: add_date\nAction Input: \nObservation: {}", "no_arguments", "write {}"),
        ("Action: add_date\nAction Input: ```json\n```", "no_arguments", "write {}"),
        ('Action: add_date\nAction Input: [{"a": 1}]', "not_an_object", "no object"),
        ('Action: add_date\nAction Input: "{}"', "not_an_object", "no object"),
        ("Action: add_date\nAction Input: 3", "not_an_object", "no object"),
        ("Action: add_date\nAction Input: a=1", "bad_json", "'a=1' is no JSON object"),
        ("Action: add_date\nAction Input: {'a': 1}", "bad_json", "double quotes"),
        ('Action: add_date\nAction Input: {"a": 1', "bad_json", "ends before the object"),
        ('Action: add_date\nAction Input: {"a": "b\nc"}', "bad_json", "control character"),
        ('Action: add_date\nAction Input: {{"a": 1}}', "bad_json", "character 2"),
        ('Action: add_date\nAction Input: {"a": 1, "a": 1}', "bad_json", "'a' more than once"),
        ('Action: add_date\nAction Input: {"a": {"b": 1, "b": 2}}', "bad_json", "'b' more than"),
        ('Action: add_date\nAction Input: {"a": NaN}', "bad_json", "NaN"),
        ('Action: add_date\nAction Input: {"a": -Infinity}', "bad_json", "-Infinity"),
        ('Action: add_date\nAction Input: {"a": 1e999}', "bad_json", "too large"),
        ('Action: add_date\nAction Input: {"a": "\\ud800"}', "bad_json", "surrogate"),
        ('Action: add_date\nAction Input: {"a": "\ud800"}', "bad_json", "surrogate"),
        ("Action: add_date\nAction Input: {} and so", "trailing_text", "'and so'"),
        ("Action: add_date\nAction Input: {}}", "trailing_text", "'}'"),
        ("Action: a\nAction: b\nAction Input: {}", "several_calls", "one call a reply"),
        ("Action: add_date\nAction Input: {}\nAction Input: {}", "several_calls", "one call"),
        (
            "Action: add_date\nAction Input: {} Action: add_date Action Input: {}",
            "several_calls",
            "one call",
        ),
        (
            "Action: add_date\nAction Input: {}\nThought: and\nAction: add_date\nAction Input: {}",
            "several_calls",
            "one call",
        ),
    ],
)
def test_failures_say_what_is_wrong(text: str, kind: str, words: str) -> None:
    found = failure(text)
    assert found.kind == kind
    assert words in found.message
    assert "\n" not in found.message
    assert not found.message.endswith(".")


def test_an_unknown_name_is_never_replaced() -> None:
    found = failure("Thought: hm\nAction: add_dates\nAction Input: {}")
    assert (found.kind, found.tool, found.thought) == ("unknown_tool", "add_dates", "hm")
    assert "similar names: 'add_date'" in found.message
    assert "'Car database%%Makes'" in found.message
    silent = parse_action("Action: add_dates\nAction Input: {}", TOOLS, suggest=False)
    assert isinstance(silent, ParseFailure)
    assert silent.message == "there is no tool 'add_dates'"


def test_an_incomplete_call_of_an_unknown_tool_is_malformed() -> None:
    assert failure("Action: made_up\nAction Input: {").kind == "bad_json"


def test_messages_do_not_depend_on_the_order_of_a_set() -> None:
    names = [f"tool_{number}" for number in range(30)]
    text = "Action: tool_x\nAction Input: {}"
    assert parse_action(text, names) == parse_action(text, frozenset(reversed(names)))
    assert "and 10 more" in str(parse_action(text, names))


def test_nesting_up_to_the_limit() -> None:
    def nested(depth: int) -> str:
        inner = "[" * (depth - 1) + "]" * (depth - 1)
        return f'Action: add_date\nAction Input: {{"a": {inner or 1}}}'

    assert call(nested(MAX_DEPTH)).arguments_text.count("[") == MAX_DEPTH - 1
    assert "levels deep" in failure(nested(MAX_DEPTH + 1)).message
    wide = json.dumps({"a": [[number] for number in range(1000)]})
    assert call(f"Action: add_date\nAction Input: {wide}").arguments_text == wide


@pytest.mark.parametrize("value", ["[" * 100_000, '{"a":' * 100_000, "9" * 10_000])
def test_json_that_crashes_decoders_is_bad_json(value: str) -> None:
    found = failure(f'Action: add_date\nAction Input: {{"a": {value}}}')
    assert found.kind == "bad_json"
    assert len(found.message) < 300


# Two hundred thousand characters take milliseconds, and minutes where time grows with their square.
@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "unit",
    ["x", " ", "*", '"', "`x", "\n", "Action:", "Action:\n", "action input", "> ", "{", '{"', "\\"],
)
@pytest.mark.parametrize(
    "start",
    ["", "Action", "Action:", "Action: add_date\nAction Input:", "Thought: a\nFinal Answer"],
)
def test_long_texts_take_linear_time(start: str, unit: str) -> None:
    text = start + unit * (200_000 // len(unit))
    assert isinstance(parse_action(text, TOOLS), ParseFailure)
    assert isinstance(parse_action(text + "!", TOOLS), ParseFailure)


# Names and texts that people could give; no surrogates, which no file can hold.
_text = st.text(st.characters(exclude_categories=["Cs"]))
_json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)
_names = _text.filter(
    lambda name: name == name.strip() and name and "\n" not in name and not _has_marker(name)
)


def _has_marker(name: str) -> bool:
    return len(find_markers(f"Action: {name}")) > 1 or name.startswith("**")


@settings(max_examples=100, deadline=None)
@given(
    arguments=st.dictionaries(_text, _json_values, max_size=5),
    names=st.lists(_names, min_size=1, max_size=5, unique=True),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    form=st.sampled_from(
        [
            "Action: {}\nAction Input: {}",
            "Thought: x\nAction: <tool_{}> Action Input: {}\nObservation",
        ]
    ),
)
def test_every_object_comes_back(
    arguments: dict[str, object], names: list[str], indent: int | None, ascii_only: bool, form: str
) -> None:
    written = json.dumps(arguments, indent=indent, ensure_ascii=ascii_only)
    reply = parse_action(form.format(names[0], written), names)
    assert isinstance(reply, ToolCall), reply
    assert reply.tool == names[0]
    assert reply.arguments_text == written
    assert reply.arguments_json == canonical_json(arguments)


_markers = ["Action: ", "Action Input: ", "Final Answer:", "Observation:", "Thought:", "add_date"]
_pieces = st.sampled_from([*_markers, *'*`"{}[]:,1\\ \n\ud800', "NaN", "\\ud800", "**", "{}"])


@settings(max_examples=300, deadline=None)
@given(st.lists(_pieces, max_size=30).map("".join) | st.text())
def test_it_never_raises(text: str) -> None:
    reply = parse_action(text, TOOLS)
    if isinstance(reply, ToolCall):
        assert reply.tool in TOOLS
        assert reply.arguments_text in text
        assert isinstance(json.loads(reply.arguments_json), dict)
    elif isinstance(reply, FinalAnswer):
        assert reply.text
        assert reply.text in text
    else:
        assert reply.message


@settings(max_examples=400)
@given(
    before=st.sampled_from(["", "Thought: I see.\n", "Thought:  \n", "Thought: Action: x\n"])
    | st.text(alphabet="Thoug: \n\r*`Acnser", max_size=20).map("Thought: {}\n".format),
    head=st.sampled_from(["Action: ", "Action:  ", "action: ", "Action: Action Input: "])
    | st.just("Action: "),
    name=st.sampled_from(
        [*sorted(TOOLS), "<tool_add_date>", "`add_date`", "nope", "", " add_date "]
    )
    | st.text(max_size=12),
    between=st.sampled_from(["\nAction Input: ", "\n Action Input: ", "\nAction Input:"]),
    written=st.sampled_from(
        ['{"a": 1}', '{"a": 1} ', '{"a": 1, "a": 2}', "{}", "[1]", '{"a": 1}\nObservation: x', "{"]
    )
    | st.text(max_size=12),
)
def test_the_plain_form_of_a_call_is_read_as_the_general_one(
    before: str, head: str, name: str, between: str, written: str
) -> None:
    text = f"{before}{head}{name}{between}{written}"
    for thoughts in (True, False):
        plain = parsing._parse_plain_call(text, TOOLS, True, thoughts)
        if plain is not None:
            assert plain == parsing._parse_marked(text, TOOLS, True, thoughts)

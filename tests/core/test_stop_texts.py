import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.replies.parsing import ToolCall, parse_action
from ste_ray.core.replies.stop_texts import (
    OBSERVATION_STOP,
    THOUGHT_STOP,
    cut_at_stop,
    may_be_argument,
)

HEAD = "Thought: t\nAction: note\nAction Input: "
MARKERS = ["Observation:", "Thought:", "Action:", "Action Input:", "Final Answer:", '"', "\\", "\n"]


def cut(text):
    return cut_at_stop(text, OBSERVATION_STOP)


@given(
    st.dictionaries(
        st.text(max_size=5), st.lists(st.sampled_from(MARKERS) | st.text(max_size=9)).map("".join)
    ),
    st.sampled_from([None, 1]),
    st.sampled_from(["\nObservation: 4", " Observation: 4", "\n**Observation:** 4", ""]),
)
def test_arguments_that_hold_markers_survive(arguments, indent, behind):
    call = HEAD + json.dumps(arguments, ensure_ascii=False, indent=indent)
    kept = cut(call + behind + "\nFinal Answer: 4" * bool(behind))
    assert kept.rstrip() == call
    found = parse_action(kept, {"note"})
    assert isinstance(found, ToolCall)
    assert found.arguments == arguments
    # What an endpoint would do with the stop text that it is sent.
    assert OBSERVATION_STOP[0] not in call


@given(
    st.dictionaries(
        st.text(max_size=5), st.lists(st.sampled_from(MARKERS) | st.text(max_size=9)).map("".join)
    ),
    st.sampled_from([None, 1]),
    st.data(),
)
def test_no_beginning_of_a_call_is_taken_for_its_end(arguments, indent, data):
    call = HEAD + json.dumps(arguments, ensure_ascii=False, indent=indent)
    beginning = call[: data.draw(st.integers(0, len(call)))]
    assert cut(beginning) == beginning or may_be_argument(beginning, OBSERVATION_STOP)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + '{"a": "Observation:', True),
        (HEAD + '{"a": "Observation: \\', True),
        (HEAD + '{"a": "Observation:\n', False),
        (HEAD + '{"a": 1} Observation:', False),
        (HEAD + '{"a": 1}\nObservation: "', False),
        ("Observation: ", False),
    ],
)
def test_a_marker_may_be_an_argument_while_its_string_is_open(text, expected):
    assert cut(text) != text
    assert may_be_argument(text, OBSERVATION_STOP) is expected


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "Thought: the Observation: says so\nAction: x",
            "Thought: the Observation: says so\nAction: x",
        ),
        ("Final Answer: Observation: it rained", "Final Answer: Observation: it rained"),
        ("Observation: made up", ""),
        ("Thought: t\n observation : made up", "Thought: t"),
        (HEAD + '{"a": "Observation: never closed', HEAD + '{"a": "'),
        (HEAD + '{"a": 1}```\nObservation: 3', HEAD + '{"a": 1}```'),
        (HEAD + '{"a": "\\"Observation: 1"} Observation: 3', HEAD + '{"a": "\\"Observation: 1"} '),
        (
            "Final Answer: a\nAction Input: Observation: b",
            "Final Answer: a\nAction Input: Observation: b",
        ),
    ],
)
def test_a_marker_counts_at_the_start_of_a_line_and_behind_arguments(text, kept):
    assert cut(text) == kept


@given(st.text(), st.text())
def test_cutting_leaves_the_part_before_the_first(before, after):
    kept = cut_at_stop(f"{before}\nObservation:{after}", (*OBSERVATION_STOP, *THOUGHT_STOP))
    assert before.startswith(kept)
    assert cut_at_stop(before, ()) == before
    assert cut_at_stop(kept, OBSERVATION_STOP) == kept


def test_a_query_ends_at_a_line_of_thought():
    query = "Write 'Thought: hm' down"
    assert cut_at_stop(f"{query}\nThought: easy", THOUGHT_STOP) == query


def test_cutting_takes_linear_time():
    assert cut(HEAD + '{"' + 'Observation: \\"' * 100_000).startswith(HEAD)
    assert cut(HEAD + '"' * 300_001 + " Observation:").startswith(HEAD)

"""The shapes that endpoints give a message, read as text and reasoning."""

from __future__ import annotations

import pytest

from ste_ray.core.replies.reasoning import Separated
from ste_ray.llm.completions import TokenUse, read_message, read_usage


@pytest.mark.parametrize(
    "message",
    [
        {"content": "<think>hm</think>\nYes."},
        {"content": "Yes.", "reasoning_content": "hm"},
        {"content": "Yes.", "reasoning": "hm"},
        {"content": "Yes.", "thinking": "hm"},
        {"content": "\n\nYes.", "reasoning_content": "hm\n"},
        {"content": "Yes.", "reasoning": {"content": "hm"}},
        {"content": "Yes.", "reasoning": [{"type": "reasoning_text", "text": "hm"}]},
        {"content": "Yes.", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"content": "Yes.", "thinking_blocks": [{"type": "thinking", "thinking": "hm"}]},
        {"content": "<think>hm</think>Yes.", "reasoning_content": "hm"},
        {"content": "Yes.", "reasoning": "hm", "reasoning_details": [{"text": "hm"}]},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "Yes."},
            ]
        },
        {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Yes."}]},
        {"content": [{"type": "reasoning", "summary": [{"text": "hm"}]}, "Yes."]},
        {
            "content": [
                {"type": "reasoning", "content": "hm"},
                {"type": "output_text", "text": "Yes."},
            ]
        },
        {"content": [{"text": "hm", "thought": True}, {"text": "Yes."}]},
        {"content": [{"type": "redacted_thinking", "data": "x"}, "<think>hm</think>", "Yes."]},
        {"content": {"type": "text", "text": "<think>hm</think>Yes."}},
        {"content": [{"type": "image_url", "image_url": {}}, "Yes."], "reasoning": "hm"},
    ],
)
def test_shapes_of_reasoning(message):
    found = read_message(message)
    assert found.content.strip() == "Yes."
    assert (found.reasoning, found.unclosed) == ("hm", False)


@pytest.mark.parametrize("content", [None, "", "Yes.", " as it is \n", ["Yes", "."], []])
def test_without_reasoning_the_text_is_as_it_is(content):
    text = "".join(content or "")
    assert read_message({"content": content}) == Separated(text)
    assert read_message({"content": content, "reasoning_content": None}) == Separated(text)


def test_reasoning_alone_is_no_answer():
    assert read_message({"content": None, "reasoning_content": "hm"}) == Separated("", "hm", True)


def test_half_a_surrogate_pair_is_replaced_everywhere():
    assert read_message({"content": "a\ud83d", "reasoning": "b\ud83d"}) == Separated("a?", "b?")


@pytest.mark.parametrize("content", [5, True, 0.5])
def test_what_is_no_message_is_refused(content):
    with pytest.raises(TypeError):
        read_message({"content": content})


def test_deep_values_are_no_danger():
    value = "hm"
    for _ in range(5000):
        value = [value]
    assert read_message({"content": "Yes.", "reasoning": value}).content == "Yes."


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({}, TokenUse(0, 0, 0, 0)),
        # told by the endpoint
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 100,
                "completion_tokens_details": {"reasoning_tokens": 64},
            },
            TokenUse(9, 0, 100, 64),
        ),
        # estimated: 30 of 40 characters
        ({"prompt_tokens": 9, "completion_tokens": 100}, TokenUse(9, 0, 100, 75)),
        # left out of the completion, and in the total
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 10,
                "total_tokens": 113,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            TokenUse(9, 0, 104, 94),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 10, "total_tokens": 60},
            TokenUse(9, 0, 51, 41),
        ),
        # a total that counts the cached ones twice says nothing of reasoning
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 100,
                "total_tokens": 114,
                "prompt_tokens_details": {"cached_tokens": 5},
            },
            TokenUse(9, 5, 100, 75),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 100,
                "total_tokens": 109,
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
            TokenUse(9, 0, 100, 75),
        ),
    ],
)
def test_tokens_of_the_reasoning(usage, expected):
    assert read_usage(usage, Separated("b" * 10, "a" * 30)) == expected


@pytest.mark.parametrize(
    ("message", "reasoning"),
    [
        ({"content": {"text": "Yes."}}, ""),
        ({"content": {"type": "text", "text": {"value": "Yes."}}}, ""),
        ({"content": [{"type": "text", "text": {"value": "Yes.", "annotations": []}}]}, ""),
        ({"content": {"parts": [{"text": "hm", "thought": True}, {"text": "Yes."}]}}, "hm"),
        ({"content": [[{"type": "text", "text": "Yes."}]]}, ""),
        (
            {
                "content": [
                    {"type": "message", "content": [{"type": "output_text", "text": "Yes."}]}
                ]
            },
            "",
        ),
        ({"content": [{"type": "think", "think": "hm"}, "Yes."]}, "hm"),
        ({"content": None, "text": "Yes."}, ""),
        ({"content": None, "refusal": "Yes."}, ""),
        ({"content": "Yes.", "reasoning": {"content": "hm"}}, "hm"),
        ({"content": "Yes.", "reasoning": ["h", 5, None, {"text": "m"}]}, "hm"),
        ({"content": "Yes.", "reasoning_text": "hm"}, "hm"),
        ({"content": "Yes.", "thinking_content": "hm"}, "hm"),
        ({"content": "Yes.", "thoughts": ["hm"]}, "hm"),
        ({"content": "Yes.", "provider_specific_fields": {"reasoning_content": "hm"}}, "hm"),
        ({"content": "Yes.", "thought_signature": "QUJD", "reasoning_effort": "low"}, ""),
        ({"content": "Yes.", "reasoning": True, "thinking": 3}, ""),
    ],
)
def test_fields_and_parts_of_odd_types(message, reasoning):
    found = read_message(message)
    assert (found.content, found.reasoning) == ("Yes.", reasoning)

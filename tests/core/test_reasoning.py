"""What a model writes before it answers is taken off; what an answer says of tags stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.replies.reasoning import (
    Separated,
    estimated_tokens,
    opens_reasoning,
    reasoning_tokens,
    separate,
)

CALL = 'Thought: so\nAction: add\nAction Input: {"n": 1}'
DRAFT = 'Okay. I could write\nAction: some_tool\nAction Input: {"a": 1}\nbut carefully.'


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("<think>\n", "\n</think>\n\n"),
        ("<think>", "</think>"),
        ("\n<think>\n", "\n</think>\n"),
        ("<THINK>", "</THINK>"),
        ("<thinking>", "</thinking>"),
        ("<thought>", "</thought>"),
        ("<thoughts>", "</thoughts>"),
        ("<reasoning>", "</reasoning>"),
        ("<reflection>", "</reflection>"),
        ("<scratchpad>", "</scratchpad>"),
        ('<thinking lang="en">', "</thinking>"),
        ("<think>", "</thinking>"),
        ("<thought_process>\n", "\n</thought_process>\n"),
        ("<antThinking>", "</antThinking>"),
        ("<inner_thoughts>", "</inner_thoughts>"),
        ("<reasoning-steps>", "</reasoning-steps>"),
        ("<chain-of-thought>", "</chain-of-thought>"),
        ("<monologue>", "</monologue>"),
        ("< think >", "</ think >"),
        ("<think>", "</think >"),
        ("<|think_start|>", "<|think_end|>"),
        ("<|begin_thinking|>", "<|end_thinking|>"),
        ("\ufeff<think>", "</think>"),
        ("\u200b\n<think>", "</think>"),
        ("<s><think>", "</think>"),
        ("Assistant: <think>", "</think>"),
        ("assistant\n<think>", "</think>"),
        ("<|im_start|>assistant\n<think>", "</think>"),
        ("<|im_start|>think\n", "<|im_end|>\n<|im_start|>answer\n"),
        ("<unused94>thought\n", "<unused95>"),
        ("[unused16]", "[unused17]"),
        ("## Thinking\n\n", "\n\n## Final Response\n\n"),
        ("**Reasoning:**\n", "\n\n**Answer:**\n"),
        ("```thinking\n", "\n```\n"),
        ("<details><summary>Thinking</summary>\n", "\n</details>\n"),
        ("<seed:think>", "</seed:think>"),
        ("<|think|>", "<|/think|>"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"),
        ("<|channel>thought\n", "<channel|>"),
        ('<details type="reasoning" done="true">\n', "</details>\n"),
        ("", "\n</think>\n\n"),
        ("", "\n</thinking>\n"),
        ("", "[/THINK]"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        ("<|start|>assistant<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
        ("analysis", "assistantfinal"),
        ("Here is my thought process: ", "\n\nHere is my response:\n"),
        ("<think>", "</think><response>"),
        ("<thinking>", "</thinking>\n<output>\n"),
        ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    ],
)
@pytest.mark.parametrize("answer", [CALL, "Yes, it was.", "What is 1 < 2?", '{"error": "no"}'])
def test_every_form_of_reasoning_is_taken_off(opening, closing, answer):
    assert separate(f"{opening}{DRAFT}{closing}{answer}") == Separated(answer, DRAFT)


@pytest.mark.parametrize(
    ("text", "content", "reasoning"),
    [
        (f"<think>a</think>\n<think>b</think>\n{CALL}", CALL, "a\n\nb"),
        (f"<think>a <think>b</think> c</think>{CALL}", CALL, "a <think>b</think> c"),
        (f"<think>a <think> tag</think>{CALL}", CALL, "a <think> tag"),
        (f"<think>it ends by `</think>`. So\n</think>\n{CALL}", CALL, "it ends by `</think>`. So"),
        (f"<think>it ends by </think> then\n</think>\n{CALL}", CALL, "it ends by\n\nthen"),
        ("<thinking>a<reflection>b</reflection></thinking>c", "c", "a<reflection>b</reflection>"),
        ("<think>a</think><answer>b</answer>", "b", "a"),
        (f"Sure.\n<think>\na\n</think>\n{CALL}", f"Sure.\n{CALL}", "a"),
        (f"<think>\n\n</think>\n\n{CALL}", CALL, ""),
        (
            '<think>a <think> b</think>Action: w\nAction Input: {"t": "</think>"}',
            'Action: w\nAction Input: {"t": "</think>"}',
            "a <think> b",
        ),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary"
            "<|message|>b<|end|><|start|>assistant<|channel|>final<|constrain|>json<|message|>c"
            "<|return|>",
            "c",
            "a\n\nb",
        ),
    ],
)
def test_blocks_that_nest_repeat_or_speak_of_themselves(text, content, reasoning):
    assert separate(text) == Separated(content, reasoning)


@pytest.mark.parametrize(
    "text",
    ["<think>a", "<think>", "[THINK]\na", "<|channel|>analysis<|message|>a", "<thought>a <b"],
)
def test_a_text_that_ends_within_its_reasoning_holds_no_answer(text):
    found = separate(text)
    assert found.content == ""
    assert found.unclosed


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        "",
        " \n",
        'Action: say\nAction Input: {"text": "a </think> b"}',
        'Action: say\nAction Input: {"text": "<think>a</think> b"}',
        'Thought: x\nAction: say\nAction Input: {"text": "use </think>"}',
        "Final Answer: The tag </think> ends it.",
        "Final Answer: Write\n<think>\nx\n</think>\n",
        "Write <think> and </think> around it.",
        "Write `</think>` at the end.",
        'How do I close "</think>"?',
        'How do I close "a </think> b" in HTML?',
        '{"verdict": "same", "reason": "</think>"}',
        "Here is my thought process: I do not know.",
        "analysis is hard",
        "I think </b> so <i>thinking</i>",
        "[think] about it",
    ],
)
def test_an_answer_that_mentions_a_tag_stays_as_it_is(text):
    if text.startswith("[think]"):
        text = f"Well, {text}"
    assert separate(text) == Separated(text)


def test_a_prompt_may_have_opened_the_block():
    assert opens_reasoning("<|im_start|>assistant\n<think>\n")
    assert opens_reasoning("[THINK]")
    assert not opens_reasoning("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not opens_reasoning("Write <think> there.")
    assert separate("a\nb", opened=True) == Separated("", "a\nb", unclosed=True)
    assert separate(f"{DRAFT}</think>{CALL}", opened=True) == Separated(CALL, DRAFT)
    assert separate(f"Action: x</think>{CALL}", opened=True) == Separated(CALL, "Action: x")
    assert separate(f"</think>\n{CALL}", opened=True) == Separated(CALL)
    assert separate(f"<think>a</think>{CALL}", opened=True) == Separated(CALL, "a")


@given(st.text(alphabet='<think>/[THINK]◁▷|"`\\{} \na:', max_size=80), st.booleans())
def test_nothing_is_lost_and_no_text_is_refused(text, opened):
    found = separate(text, opened)
    assert found.content == text or found.content == found.content.lstrip()
    assert len(found.content) + len(found.reasoning) <= len(text) + 64
    if not found.reasoning and not found.unclosed and not opened:
        assert found.content == text or ">" in text or "]" in text or "▷" in text


@pytest.mark.parametrize(
    "unit",
    ["</think>", "<think>", '<think>"</think>', "a\n<think>\n</think>\n", "<|channel|>", "<"],
)
def test_hostile_texts_take_no_time(unit):
    started = time.monotonic()
    separate(unit * 100_000)
    assert time.monotonic() - started < 5


def test_tokens_by_the_share_of_characters():
    assert estimated_tokens(100, "a" * 30, "b" * 10) == 75
    assert estimated_tokens(100, "", "b") == 0
    assert estimated_tokens(100, "", "") == 0


def test_which_tokens_of_a_tokenizer_must_stay_to_be_seen():
    plain = {"<|im_end|>", "</s>", "<tool_add>", "[INST]", "<|end|>", "<|message|>"}
    assert reasoning_tokens(plain) == set()
    assert reasoning_tokens(plain | {"[THINK]", "[/THINK]"}) == {"[THINK]", "[/THINK]"}
    assert reasoning_tokens({"<|channel>", "<channel|>"}) == {"<|channel>", "<channel|>"}
    harmony = plain | {"<|channel|>", "<|return|>"}
    assert reasoning_tokens(harmony) == {"<|channel|>", "<|return|>", "<|end|>", "<|message|>"}


@pytest.mark.parametrize(
    "text",
    [
        "analysisWe need to answer",
        "<|im_start|>think\nOkay",
        "<unused94>thought\nOkay",
        "<thought_process>Okay",
        "```thinking\nOkay",
        "\ufeff<think>Okay",
    ],
)
def test_reasoning_that_was_cut_is_told_in_every_form(text):
    found = separate(text)
    assert (found.content, found.unclosed) == ("", True)
    assert found.reasoning.endswith(("Okay", "answer"))


def test_channels_whose_tokens_were_dropped_begin_in_any_case():
    assert separate("analysiswe must.assistantfinalYes.") == Separated("Yes.", "we must.")
    assert separate("assistantcommentaryHm.assistantfinalYes.") == Separated("Yes.", "Hm.")


@pytest.mark.parametrize(
    "text",
    [
        "analysis of the weather in Oslo",
        "**Thought:** so\n**Action:** add",
        "<season>spring</season>",
        "<reasonable>yes</reasonable>",
        "```json\n{}\n```",
        "## Thinking\nis what people do.",
        "Assistant: yes",
        "<unusual>x</unusual>",
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert separate(text) == Separated(text)

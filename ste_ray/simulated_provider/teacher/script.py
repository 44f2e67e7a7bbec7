"""The scripted teacher's reply to a list of chat messages: a pure function of messages and seed."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from ste_ray.simulated_provider.teacher.answering import answer
from ste_ray.simulated_provider.teacher.concluding import reflect
from ste_ray.simulated_provider.teacher.conversation import (
    Conversation,
    Task,
    read_conversation,
    task_of,
    text_of,
)
from ste_ray.simulated_provider.teacher.imagining import imagine
from ste_ray.simulated_provider.teacher.judging import judge, score, score_answer
from ste_ray.simulated_provider.teacher.lessons import learn
from ste_ray.simulated_provider.teacher.paraphrasing import paraphrase
from ste_ray.simulated_provider.teacher.simulating import simulate
from ste_ray.simulated_provider.teacher.testing import check_test, write_test
from ste_ray.simulated_provider.teacher.tool_choice import choose_tool

INTRODUCTION = (
    "I am a scripted teacher, not a language model: I can explore a tool, stand in for one, call "
    "one of many, judge an example of its use, reword a request and make tests, and nothing else."
)
ROLES: dict[Task, str] = {
    "imagine": "explorer",
    "answer": "explorer",
    "reflect": "explorer",
    "judge": "judge",
    "paraphrase": "paraphraser",
    "simulate": "tool_simulator",
    "act": "assistant",
    "score": "scorer",
    "score_answer": "scorer",
    "write_test": "paraphraser",
    "check_test": "judge",
    "other": "other",
}

# What is said of the sections of one prompt.
_VERDICTS: dict[Task, Callable[[str], str]] = {
    "judge": judge,
    "score": score,
    "score_answer": score_answer,
}


def reply(messages: Sequence[dict[str, Any]], seed: int) -> str:
    """Return the reply to ``messages``; equal messages and seed give an equal reply."""
    task = task_of(messages)
    if task in _VERDICTS:  # asked again, the sections stand in the first message
        return _VERDICTS[task](text_of(messages[0]))
    if task == "other":
        return INTRODUCTION
    if task == "check_test":
        return check_test(messages)
    rng = _random(messages, seed)
    if task == "write_test":
        return write_test(messages, rng)
    if task == "act":
        return choose_tool(messages, rng)
    if task == "paraphrase":
        return paraphrase(messages, rng)
    if task == "simulate":
        return simulate(text_of(messages[-1]), rng)
    conversation = read_conversation(messages)
    if task == "reflect":
        return reflect(conversation)
    return answer(conversation, rng) if task == "answer" else _imagine(conversation, rng)


def _imagine(conversation: Conversation, rng: random.Random) -> str:
    if not conversation.tools:
        return INTRODUCTION
    tool = conversation.tools[-1]
    here = [(item.request, True) for item in conversation.rounds]
    tried, lessons = [*conversation.remembered, *here], learn(conversation, tool)
    return imagine(tool, tried, lessons, rng, conversation.suggested)


def _random(messages: Sequence[dict[str, Any]], seed: int) -> random.Random:
    seen = [(str(item.get("role")), text_of(item)) for item in messages]
    digest = hashlib.sha256(json.dumps([seed, seen]).encode()).digest()
    return random.Random(digest)

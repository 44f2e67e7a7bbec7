"""Answers a request that comes with the documentation of many tools: which one, with what.

The tool is the one whose name and description share most words with the request, and whose required
arguments can be read from it.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ste_ray.simulated_provider.teacher.answering import (
    final_answer,
    next_arguments,
    what_was_asked,
)
from ste_ray.simulated_provider.teacher.concluding import failure_answer, success_answer
from ste_ray.simulated_provider.teacher.conversation import OBSERVATION, Round, json_at, text_of
from ste_ray.simulated_provider.teacher.error_reading import is_error
from ste_ray.simulated_provider.teacher.facts import Asked
from ste_ray.simulated_provider.teacher.lessons import Lessons
from ste_ray.simulated_provider.teacher.schema import Tool, read_tools
from ste_ray.simulated_provider.teacher.slot_filling import fill
from ste_ray.simulated_provider.teacher.words import stems

_CALL = re.compile(r"^Action: (?P<tool>.+)\nAction Input:\s*", re.M)
_FILLED = 1.5  # what a required argument found in the request is worth, in rare words


def choose_tool(messages: Sequence[dict[str, Any]], rng: random.Random) -> str:
    """Return a call of one of the tools in the system message, or after a result the answer."""
    tools = read_tools(text_of(messages[0]))
    last = text_of(messages[-1])
    if last.startswith(OBSERVATION):
        observation = last.removeprefix(OBSERVATION).strip()
        if is_error(observation):
            return final_answer("I now know the answer", failure_answer(observation, rng))
        told = success_answer(observation, _asked(messages, tools), rng)
        return final_answer("I now know the answer", told)
    if not tools:
        return "Final Answer: I have no tools."
    rarity = rarity_of(tools)
    best = max(tools, key=lambda tool: worth(tool, last, rarity))
    arguments = next_arguments(best, Round(last), Lessons(), rng) or {}
    text = json.dumps(arguments, ensure_ascii=False)
    return f"Action: {best.name}\nAction Input: {text}"


def rarity_of(tools: Sequence[Tool]) -> dict[str, float]:
    """Return how rare each word is in what the tools say of themselves."""
    counts = Counter(word for tool in tools for word in _words(tool))
    return {word: math.log((1 + len(tools)) / count) for word, count in counts.items()}


def _asked(messages: Sequence[dict[str, Any]], tools: Sequence[Tool]) -> Asked:
    """Return what the last message answers: the call before it, and the request before that."""
    said = [text_of(message) for message in messages[-3:-1]]
    called = _CALL.search(said[-1]) if len(said) == 2 else None
    arguments = json_at(said[-1], called.end()) if called else None
    tool = next((one for one in tools if called and one.name == called["tool"].strip()), None)
    if tool is None or not isinstance(arguments, dict):
        return Asked()
    return what_was_asked(tool, said[0], arguments)


def _words(tool: Tool) -> frozenset[str]:
    return stems(f"{tool.name} {tool.description}".replace("_", " "))


def worth(tool: Tool, request: str, rarity: Mapping[str, float]) -> float:
    """Return how well a tool fits a request: in rare words that they share, and values found."""
    shared = stems(request.replace("_", " ")) & _words(tool)
    found = fill(tool, request)
    filled = sum(1 if item.name in found else -1 for item in tool.parameters if item.required)
    return math.fsum(rarity[word] for word in shared) + _FILLED * filled  # in any order the same

"""Answers a request that comes with the documentation of many tools: which one, with what.

The tool is the one whose name and description share most words with the request, and whose required
arguments can be read from it.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from typing import Any

from ste_ray.simulated_provider.teacher.answering import next_arguments
from ste_ray.simulated_provider.teacher.concluding import failure_answer, success_answer
from ste_ray.simulated_provider.teacher.conversation import OBSERVATION, Round, text_of
from ste_ray.simulated_provider.teacher.error_reading import is_error
from ste_ray.simulated_provider.teacher.filling import fill
from ste_ray.simulated_provider.teacher.lessons import Lessons
from ste_ray.simulated_provider.teacher.schema import Tool, read_tools
from ste_ray.simulated_provider.teacher.words import content_words, stem

_FILLED = 1.5  # what a required argument found in the request is worth, in rare words


def act(messages: Sequence[dict[str, Any]], rng: random.Random) -> str:
    """Return a call of one of the tools in the system message, or after a result the answer."""
    tools = read_tools(text_of(messages[0]))
    last = text_of(messages[-1])
    if last.startswith(OBSERVATION):
        request = text_of(messages[-3]) if len(messages) > 2 else ""
        observation = last.removeprefix(OBSERVATION).strip()
        told = (
            failure_answer(observation, rng)
            if is_error(observation)
            else success_answer(request, observation, rng)
        )
        return f"Thought: I now know the answer\nFinal Answer: {told}"
    if not tools:
        return "Final Answer: I have no tools."
    rarity = _rarity(tools)
    best = max(tools, key=lambda tool: _worth(tool, last, rarity))
    arguments = next_arguments(best, Round(last), Lessons(), rng) or {}
    text = json.dumps(arguments, ensure_ascii=False)
    return f"Action: {best.name}\nAction Input: {text}"


def _words(text: str) -> set[str]:
    return {stem(word) for word in content_words(text.replace("_", " "))}


def _rarity(tools: Sequence[Tool]) -> dict[str, float]:
    counts: dict[str, int] = {}
    for tool in tools:
        for word in _words(f"{tool.name} {tool.description}"):
            counts[word] = counts.get(word, 0) + 1
    return {word: math.log((1 + len(tools)) / count) for word, count in counts.items()}


def _worth(tool: Tool, request: str, rarity: dict[str, float]) -> float:
    shared = _words(request) & _words(f"{tool.name} {tool.description}")
    found = fill(tool, request)
    required = [item.name for item in tool.parameters if item.required]
    filled = sum(1 if name in found else -1 for name in required)
    return sum(rarity.get(word, 0.0) for word in shared) + _FILLED * filled

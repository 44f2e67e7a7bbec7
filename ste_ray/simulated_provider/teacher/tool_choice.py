"""Answers a request that comes with the documentation of many tools: which one, with what.

The tool is the one whose name and description share most words with the request, and whose required
arguments can be read from it.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ste_ray.simulated_provider.teacher.answering import final_answer, next_arguments
from ste_ray.simulated_provider.teacher.concluding import failure_answer, success_answer
from ste_ray.simulated_provider.teacher.conversation import OBSERVATION, Round, text_of
from ste_ray.simulated_provider.teacher.error_reading import is_error
from ste_ray.simulated_provider.teacher.lessons import Lessons
from ste_ray.simulated_provider.teacher.schema import Tool, read_tools
from ste_ray.simulated_provider.teacher.slot_filling import fill
from ste_ray.simulated_provider.teacher.words import stems

_FILLED = 1.5  # what a required argument found in the request is worth, in rare words


def choose_tool(messages: Sequence[dict[str, Any]], rng: random.Random) -> str:
    """Return a call of one of the tools in the system message, or after a result the answer."""
    tools = read_tools(text_of(messages[0]))
    last = text_of(messages[-1])
    if last.startswith(OBSERVATION):
        observation = last.removeprefix(OBSERVATION).strip()
        tell = failure_answer if is_error(observation) else success_answer
        return final_answer("I now know the answer", tell(observation, rng))
    if not tools:
        return "Final Answer: I have no tools."
    counts = Counter(word for tool in tools for word in _words(tool))
    rarity = {word: math.log((1 + len(tools)) / count) for word, count in counts.items()}
    best = max(tools, key=lambda tool: _worth(tool, last, rarity))
    arguments = next_arguments(best, Round(last), Lessons(), rng) or {}
    text = json.dumps(arguments, ensure_ascii=False)
    return f"Action: {best.name}\nAction Input: {text}"


def _words(tool: Tool) -> frozenset[str]:
    return stems(f"{tool.name} {tool.description}".replace("_", " "))


def _worth(tool: Tool, request: str, rarity: Mapping[str, float]) -> float:
    shared = stems(request.replace("_", " ")) & _words(tool)
    found = fill(tool, request)
    filled = sum(1 if item.name in found else -1 for item in tool.parameters if item.required)
    return math.fsum(rarity[word] for word in shared) + _FILLED * filled  # in any order the same

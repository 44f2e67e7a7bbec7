"""Answers a request by calling the tool: first guess, correction, final answer.

Arguments are read from the request's text. What a call's error says decides how the next one
differs; when nothing is left to try, the answer says so.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from typing import Any

from ste_ray.simulated_provider.teacher.concluding import failure_answer, success_answer
from ste_ray.simulated_provider.teacher.conversation import Conversation, Round
from ste_ray.simulated_provider.teacher.error_reading import is_error
from ste_ray.simulated_provider.teacher.filling import VAGUE, fill
from ste_ray.simulated_provider.teacher.lessons import (
    Lessons,
    as_type,
    learn,
    ranked_forms,
    shown_value,
)
from ste_ray.simulated_provider.teacher.lexicon import kind_of
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool

_MAX_COMBINATIONS = 64
_MAX_PLACES = 4096
_HASTE = 0.18  # how often a first guess sends a number as text
_FORGETTING = 0.2  # how often a first guess leaves the lessons aside
_FIRST_THOUGHTS = (
    "The request holds what the call needs, so I call the tool with it.",
    "I need the tool's result for these values.",
    "I take the values from the request and call the tool.",
    "One call with these values should answer this.",
)
_RETRY_THOUGHTS = (
    "That failed. I read the message and change the arguments.",
    "The tool refused that, so I try another form.",
    "The error tells me that an argument was wrong. I correct it.",
    "I have to put the value another way.",
)


def answer(conversation: Conversation, rng: random.Random) -> str:
    """Return the next reply in the current round: a call or a final answer."""
    if not conversation.tools or not conversation.rounds:
        return (
            "Thought: There is no tool or request here.\nFinal Answer: I could not help with that."
        )
    current = conversation.rounds[-1]
    tool = conversation.tools[-1]
    last = current.calls[-1].observation if current.calls else None
    if last is not None and not is_error(last) and not _missed(tool, current, last):
        return _final("I now know the answer", success_answer(current.request, last, rng))
    arguments = None
    if current.num_observations < current.max_turns:
        arguments = next_arguments(tool, current, learn(conversation, tool), rng)
    if arguments is None:
        return _final("I cannot get a result", failure_answer(last or "", rng))
    thought = rng.choice(_RETRY_THOUGHTS if current.calls else _FIRST_THOUGHTS)
    text = json.dumps(arguments, ensure_ascii=False)
    return f"Thought: {thought}\nAction: {tool.name}\nAction Input: {text}\n"


def _missed(tool: Tool, current: Round, observation: str) -> bool:
    """Whether a result is about something else than was asked for: kilometres instead of miles."""
    found = fill(tool, current.request)
    for parameter in tool.parameters:
        shown = shown_value(parameter, tool, observation)
        wanted = found.get(parameter.name)
        if shown is None or wanted is None:
            continue
        forms = {str(form).lower() for form in wanted.value.forms}
        if not forms & {str(form).lower() for form in shown.forms if isinstance(form, str)}:
            return True
    return False


def _final(thought: str, text: str) -> str:
    return f"Thought: {thought}\nFinal Answer: {text}"


def next_arguments(
    tool: Tool, current: Round, lessons: Lessons, rng: random.Random
) -> dict[str, Any] | None:
    """Return the likeliest arguments that have not been tried, or None when all have been."""
    found = fill(tool, current.request)
    forgets = not current.calls and rng.random() < _FORGETTING
    known = Lessons() if forgets else lessons
    names: list[str] = []
    choices: list[list[Any]] = []
    for parameter in tool.parameters:
        if parameter.name in found:
            forms = ranked_forms(
                found[parameter.name].value, parameter, kind_of(parameter, tool), known
            )
        else:
            forms = _without_value(parameter, tool, lessons, current.request)
        if forms:
            names.append(parameter.name)
            choices.append(forms)
        elif parameter.required:
            return None
    if not current.calls:
        choices = [
            _hasty(forms, name, lessons, rng) for name, forms in zip(names, choices, strict=True)
        ]
    tried = [call.arguments for call in current.calls]
    blamed = {name for call, name in lessons.blamed if call in current.calls}
    if lessons.unexplained:
        blamed = set()
    for values in _combinations(names, choices, blamed):
        arguments = dict(zip(names, values, strict=True))
        if arguments not in tried and arguments not in lessons.failed:
            return arguments
    return None


def _hasty(forms: list[Any], name: str, lessons: Lessons, rng: random.Random) -> list[Any]:
    """Return the forms of a first guess: now and then a number is sent as text, as models do.

    Once that has been refused in the conversation it does not happen again.
    """
    first = forms[0]
    plain = isinstance(first, int | float) and not isinstance(first, bool)
    seen = any(isinstance(item, str) for item in lessons.refused.get(name, ()))
    if plain and not seen and rng.random() < _HASTE:
        return [str(first), *forms]
    return forms


def _without_value(parameter: Parameter, tool: Tool, lessons: Lessons, request: str) -> list[Any]:
    """Return guesses for a required parameter of which nothing was found in the request.

    Values that other requests or error texts brought are guesses only where anything may be meant;
    a place, a date or a code that the request does not name would answer another question.
    """
    if not parameter.required:
        return []
    kind = kind_of(parameter, tool)
    offered = [as_type(item.value, parameter) for item in lessons.options.get(parameter.name, ())]
    learnt = [*lessons.accepted.get(parameter.name, ()), *offered]
    if kind.name not in (*VAGUE, "choice", "flag"):
        learnt = [item for item in learnt if _stands_in(item, request)]
    known = [*parameter.options, *learnt]
    if "default" in parameter.schema:
        known.insert(0, parameter.schema["default"])
    if kind.name == "flag":
        known.append(False)
    return [item for item in known if item is not None]


def _stands_in(value: Any, request: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(str(value))}(?!\w)", request, re.I))


def _combinations(
    names: list[str], choices: list[list[Any]], blamed: set[str]
) -> list[tuple[Any, ...]]:
    """Return combinations of forms, those nearest to the likeliest first.

    Where errors named the arguments at fault, the others stay as they are.
    """
    if not choices:
        return [()]
    ranges = [
        range(1 if blamed and name not in blamed else min(len(forms), 6))
        for name, forms in zip(names, choices, strict=True)
    ]
    places = sorted(itertools.islice(itertools.product(*ranges), _MAX_PLACES), key=sum)
    return [
        tuple(forms[index] for forms, index in zip(choices, place, strict=True))
        for place in places[:_MAX_COMBINATIONS]
    ]

"""Answers a request by calling the tool: first guess, correction, final answer.

Arguments are read from the request's text. What a call's error says decides how the next one
differs; when nothing is left to try, the answer says so.
"""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

from ste_ray.simulated_provider.teacher.concluding import failure_answer, success_answer
from ste_ray.simulated_provider.teacher.conversation import Conversation, Round
from ste_ray.simulated_provider.teacher.error_reading import is_error
from ste_ray.simulated_provider.teacher.facts import Asked
from ste_ray.simulated_provider.teacher.lessons import (
    Lessons,
    as_type,
    is_number,
    learn,
    ranked_forms,
    shown_value,
)
from ste_ray.simulated_provider.teacher.loading import data
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool
from ste_ray.simulated_provider.teacher.slot_filling import fill

_MAX_FORMS, _MAX_COMBINATIONS, _MAX_LISTED = 6, 64, 4096
_AS_TEXT = 0.18  # how often a first guess sends a number as text
_FORGETTING = 0.2  # how often a first guess leaves the lessons aside


def answer(conversation: Conversation, rng: random.Random) -> str:
    """Return the next reply in the current round: a call or a final answer."""
    if not conversation.tools or not conversation.rounds:
        return final_answer("There is no tool or request here.", "I could not help with that.")
    current, tool = conversation.rounds[-1], conversation.tools[-1]
    last = current.calls[-1].observation if current.calls else None
    if last is not None and not is_error(last) and not _missed(tool, current, last):
        asked = what_was_asked(tool, current.request, current.calls[-1].arguments)
        return final_answer("I now know the answer", success_answer(last, asked, rng))
    arguments = None
    if current.num_observations < current.max_turns:
        arguments = next_arguments(tool, current, learn(conversation, tool), rng)
    if arguments is None:
        return final_answer("I cannot get a result", failure_answer(last or "", rng))
    thought = rng.choice(data("replies")["retry thoughts" if current.calls else "first thoughts"])
    text = json.dumps(arguments, ensure_ascii=False)
    return f"Thought: {thought}\nAction: {tool.name}\nAction Input: {text}\n"


def final_answer(thought: str, text: str) -> str:
    """Return a reply that ends a round."""
    return f"Thought: {thought}\nFinal Answer: {text}"


def what_was_asked(tool: Tool, request: str, arguments: dict[str, Any]) -> Asked:
    """Return what the result of a call answers."""
    return Asked(request, arguments, frozenset(item.name for item in tool.parameters))


def _missed(tool: Tool, current: Round, observation: str) -> bool:
    """Whether a result is about something else than was asked for: kilometres instead of miles."""
    found = fill(tool, current.request)
    shown = {item.name: shown_value(item, observation) for item in tool.parameters}
    return any(
        value is not None and found[name].value.said.casefold() not in value.names
        for name, value in shown.items()
        if name in found
    )


def next_arguments(
    tool: Tool, current: Round, lessons: Lessons, rng: random.Random
) -> dict[str, Any] | None:
    """Return the likeliest arguments that have not been tried, or None when all have been."""
    found = fill(tool, current.request)
    forgets = not current.calls and rng.random() < _FORGETTING
    choices: dict[str, list[Any]] = {}
    for parameter in tool.parameters:
        name = parameter.name
        if name in found:
            known = Lessons() if forgets else lessons
            forms = ranked_forms(found[name].value, parameter, known)
        else:
            forms = _guesses(parameter, lessons)
        if forms:
            choices[name] = forms if current.calls else _hasty(forms, name, lessons, rng)
        elif parameter.required:
            return None
    tried = [call.arguments for call in current.calls]
    blamed = {name for call, name in lessons.blamed if call in current.calls}
    for arguments in _combinations(choices, set() if lessons.unexplained else blamed):
        if arguments not in tried and arguments not in lessons.failed:
            return arguments
    return None


def _hasty(forms: list[Any], name: str, lessons: Lessons, rng: random.Random) -> list[Any]:
    """Return the forms of a first guess: now and then a number is sent as text, as models do.

    Once that has been refused in the conversation it does not happen again.
    """
    seen = any(isinstance(item, str) for item in lessons.refused[name])
    if is_number(forms[0]) and not seen and rng.random() < _AS_TEXT:
        return [str(forms[0]), *forms]
    return forms


def _guesses(parameter: Parameter, lessons: Lessons) -> list[Any]:
    """Return guesses for a required parameter of which nothing was found in the request.

    Values that other requests or error texts brought are guesses only where anything may be meant;
    a place, a date or a code that the request does not name would answer another question.
    """
    if not parameter.required:
        return []
    learnt = [item.value for item in lessons.options[parameter.name]]
    known = [parameter.schema.get("default"), *parameter.options]
    if parameter.entity.vague:
        known += [*lessons.accepted[parameter.name], *learnt]
    if parameter.type == "boolean":
        known.append(False)
    typed = [as_type(item, parameter) for item in known]
    return [item for item in typed if item is not None]


def _combinations(choices: dict[str, list[Any]], blamed: set[str]) -> list[dict[str, Any]]:
    """Return combinations of forms, those nearest to the likeliest first.

    Where errors named the arguments at fault, the others stay as they are.
    """
    ranges = [
        range(1 if blamed and name not in blamed else min(len(forms), _MAX_FORMS))
        for name, forms in choices.items()
    ]
    places = sorted(itertools.islice(itertools.product(*ranges), _MAX_LISTED), key=sum)
    return [
        {name: choices[name][index] for name, index in zip(choices, place, strict=True)}
        for place in places[:_MAX_COMBINATIONS]
    ]

"""What the calls of a conversation taught: accepted values, refused values, offered options.

This is the teacher's short-term memory at work: the lessons of earlier rounds choose the form of an
argument in later ones.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from ste_ray.simulated_provider.teacher.conversation import Call, Conversation, json_at
from ste_ray.simulated_provider.teacher.drawing import Scene, draw
from ste_ray.simulated_provider.teacher.error_reading import (
    ErrorReading,
    Option,
    is_error,
    names_value,
    read_error,
)
from ste_ray.simulated_provider.teacher.mentions import Value, names_another, shape, whole_values
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool
from ste_ray.simulated_provider.teacher.words import content_words, likeness

LIKE_ENOUGH = 0.6
_DRAWS = 12
_FORMAT = re.compile(r"[YMDHSymdhs]+(?:[-/.:T ]?[YMDHSymdhs]+)+")


def _lists() -> defaultdict[str, list[Any]]:
    return defaultdict(list)


@dataclass
class Lessons:
    """Lessons by parameter name."""

    accepted: defaultdict[str, list[Any]] = field(default_factory=_lists)
    refused: defaultdict[str, list[Any]] = field(default_factory=_lists)
    options: defaultdict[str, list[Option]] = field(default_factory=_lists)
    formats: defaultdict[str, list[str]] = field(default_factory=_lists)
    failed: list[dict[str, Any]] = field(default_factory=list)  # argument sets that failed
    blamed: list[tuple[Call, str]] = field(default_factory=list)  # failed calls, what was at fault
    unexplained: bool = False  # the last error did not tell which argument was at fault


def learn(conversation: Conversation, tool: Tool) -> Lessons:
    """Return the lessons of all calls of ``tool`` in the conversation."""
    lessons = Lessons()
    for call in (call for item in conversation.rounds for call in item.calls):
        if call.observation is None:
            continue
        if is_error(call.observation):
            lessons.failed.append(call.arguments)
            _learn_from_error(call, call.observation, tool, lessons)
            continue
        for name, value in call.arguments.items():
            lessons.accepted[name].append(value)
        for parameter in tool.parameters:  # what a number stood for: unit 2 brought "mi"
            meaning = shown_value(parameter, call.observation)
            if meaning is not None and is_number(call.arguments.get(parameter.name)):
                option = Option(str(call.arguments[parameter.name]), str(meaning.forms[0]))
                lessons.options[parameter.name].append(option)
    return lessons


def shown_value(parameter: Parameter, observation: str) -> Value | None:
    """Return the named value a result shows for a parameter that takes numbers as codes."""
    if parameter.type != "integer" or not parameter.entity.coded:
        return None
    result = json_at(observation)
    texts = result.values() if isinstance(result, dict) else ()
    found = [whole_values(text, parameter) for text in texts if isinstance(text, str)]
    return next((values[0] for values in found if values), None)


def _learn_from_error(call: Call, observation: str, tool: Tool, lessons: Lessons) -> None:
    reading = read_error(observation)
    culprit = _culprit(call, tool, reading)
    lessons.unexplained = culprit is None
    if culprit is None:
        return
    name, sent = culprit.name, call.arguments.get(culprit.name)
    lessons.blamed.append((call, name))
    lessons.refused[name].append(sent)
    others = [option for option in reading.options if option.value.lower() != str(sent).lower()]
    lessons.options[name].extend(others)
    lessons.formats[name].extend(reading.formats)


def _culprit(call: Call, tool: Tool, reading: ErrorReading) -> Parameter | None:
    """Return the parameter an error is about: by quoted name, value, words, or as the only one."""
    named = [item for item in tool.parameters if item.name in reading.quoted]
    if named:
        return named[0]
    sent = [item for item in tool.parameters if item.name in call.arguments]
    by_value = [item for item in sent if names_value(reading, call.arguments[item.name])]
    if len(by_value) == 1:
        return by_value[0]
    words = set(content_words(reading.text))
    shared = [
        (len(words & set(content_words(item.description))), item) for item in by_value or sent
    ]
    most, culprit = max(shared, key=lambda pair: pair[0], default=(0, None))
    return culprit if most else sent[0] if len(sent) == 1 else None


def ranked_forms(value: Value, parameter: Parameter, lessons: Lessons) -> list[Any]:
    """Return the forms an argument may take, the likeliest by what has been learnt first."""
    name = parameter.name
    offered = _offered_forms(value, parameter, lessons)
    other = {item.value for item in lessons.options[name] if item.gloss} - set(offered)
    forms = [*offered, *(form for form in value.forms if str(form) not in other)]
    accepted = {shape(item) for item in lessons.accepted[name]}
    fitting = accepted | {_format_shape(item) for item in lessons.formats[name]}
    refused = lessons.refused[name]
    refused_shapes = {shape(item) for item in refused} - accepted

    def order(form: Any) -> tuple[bool, bool, bool]:
        fits = form in offered or shape(form) in fitting
        return form in refused, not fits, shape(form) in refused_shapes

    typed = [as_type(form, parameter) for form in sorted(forms, key=order)]
    return [form for at, form in enumerate(typed) if form is not None and form not in typed[:at]]


def _offered_forms(value: Value, parameter: Parameter, lessons: Lessons) -> list[Any]:
    """Return the offered options that stand for ``value``, the likest first.

    An option that names another value, such as an error's example, is none of them.
    """
    scored: list[tuple[float, str]] = []
    for option in lessons.options[parameter.name]:
        if not names_another(option.value, value, parameter):
            texts = itertools.product((value.said, *value.forms), (option.value, option.gloss))
            scored.append((max(likeness(*pair) for pair in texts), option.value))
    scored.sort(key=lambda pair: -pair[0])
    return [text for score, text in scored if score >= LIKE_ENOUGH]


def _format_shape(text: str) -> str:
    """Return the shape of values of a format such as YYYY-MM-DD, or of an example value."""
    is_format = _FORMAT.fullmatch(text)
    return shape(re.sub(r"[YMDHSymdhs]", "9", text) if is_format else text)


def as_type(form: Any, parameter: Parameter) -> Any:
    """Return ``form`` as the parameter's JSON type, or None if it cannot be."""
    try:
        if parameter.type == "integer":
            return int(form)
        if parameter.type == "number":
            return form if isinstance(form, int | float) else float(form)
    except (TypeError, ValueError):
        return None
    if parameter.type == "boolean":
        return form if isinstance(form, bool) else None
    is_text = parameter.type != "string" or isinstance(form, str) or parameter.options
    return form if is_text else str(form)


def is_number(value: Any) -> bool:
    """Whether a value is a number; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def expressible_value(parameter: Parameter, scene: Scene, lessons: Lessons) -> Value:
    """Draw a value for a new request, by preference one that the lessons say can be expressed."""
    value = draw(parameter, scene)
    options = lessons.options[parameter.name]
    accepted, refused = lessons.accepted[parameter.name], lessons.refused[parameter.name]
    too_large = [item for item in refused if is_number(item)]
    if options and parameter.entity.name in ("text", "other number"):
        option = scene.rng.choice(options)
        said = option.gloss or option.value
        return Value(f'"{said}"' if parameter.entity.name == "text" else said, (option.value,))
    if options and parameter.entity.free and scene.rng.random() >= 0.1:
        for _ in range(_DRAWS):
            known = _offered_forms(value, parameter, lessons)
            if known or value.forms[0] in accepted:
                break
            value = draw(parameter, Scene(scene.rng, scene.topic, scene.wanted))
    elif too_large and not options and is_number(value.forms[0]):
        for _ in range(_DRAWS):
            if not is_number(value.forms[0]) or value.forms[0] < min(too_large):
                break
            value = draw(parameter, scene)
    return value

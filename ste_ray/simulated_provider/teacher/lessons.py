"""What the calls of a conversation taught: accepted values, refused values, offered options.

This is the teacher's short-term memory at work: the lessons of earlier rounds choose the form of an
argument in later ones.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from ste_ray.simulated_provider.teacher.conversation import Call, Conversation
from ste_ray.simulated_provider.teacher.error_reading import (
    ErrorReading,
    Option,
    is_error,
    names_value,
    read_error,
)
from ste_ray.simulated_provider.teacher.kind import Kind, Scene, Value, shape
from ste_ray.simulated_provider.teacher.lexicon import kind_of
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool
from ste_ray.simulated_provider.teacher.words import content_words, likeness

# Kinds of named things that tools like to take as numbers nobody documented.
CODED = ("unit", "calendar", "weekday", "month")
# Kinds whose values can be drawn anew without regard to the other values of a request.
_FREE = ("unit", "calendar", "checksum", "language", "currency", "time zone")
_LIKE_ENOUGH = 0.6
_DRAWS = 12


@dataclass
class Lessons:
    """Lessons by parameter name."""

    accepted: dict[str, list[Any]] = field(default_factory=dict)
    refused: dict[str, list[Any]] = field(default_factory=dict)
    options: dict[str, list[Option]] = field(default_factory=dict)
    formats: dict[str, list[str]] = field(default_factory=dict)
    failed: list[dict[str, Any]] = field(default_factory=list)  # argument sets that failed

    unexplained: bool = False  # the last error did not tell which argument was at fault

    blamed: list[tuple[Call, str]] = field(default_factory=list)  # failed calls, what was at fault


def learn(conversation: Conversation, tool: Tool) -> Lessons:
    """Return the lessons of all calls of ``tool`` in the conversation."""
    lessons = Lessons()
    for call in (call for item in conversation.rounds for call in item.calls):
        if call.observation is None:
            continue
        if not is_error(call.observation):
            for name, value in call.arguments.items():
                lessons.accepted.setdefault(name, []).append(value)
            _learn_meanings(call, tool, lessons)
            continue
        lessons.failed.append(call.arguments)
        _learn_from_error(call, tool, lessons)
    return lessons


def _learn_meanings(call: Call, tool: Tool, lessons: Lessons) -> None:
    """Learn what a number stood for, where the result says it: unit 2 brought "mi"."""
    for parameter in tool.parameters:
        value = call.arguments.get(parameter.name)
        meaning = shown_value(parameter, tool, call.observation or "")
        if isinstance(value, int) and not isinstance(value, bool) and meaning is not None:
            lessons.options.setdefault(parameter.name, []).append(
                Option(str(value), str(meaning.forms[0]))
            )


def shown_value(parameter: Parameter, tool: Tool, observation: str) -> Value | None:
    """Return the named value a result shows for a parameter that takes numbers as codes."""
    kind = kind_of(parameter, tool)
    if parameter.type != "integer" or kind.name not in CODED:
        return None
    try:
        result = json.loads(observation)
    except ValueError:
        return None
    texts = (
        [item for item in result.values() if isinstance(item, str)]
        if isinstance(result, dict)
        else []
    )
    for text in texts:
        found = [item for item in kind.find(text, parameter) if item.end - item.start == len(text)]
        if found:
            return found[0].value
    return None


def _learn_from_error(call: Call, tool: Tool, lessons: Lessons) -> None:
    reading = read_error(call.observation or "")
    culprit = _culprit(call, tool, reading)
    lessons.unexplained = culprit is None
    if culprit is None:
        return
    lessons.blamed.append((call, culprit.name))
    lessons.refused.setdefault(culprit.name, []).append(call.arguments.get(culprit.name))
    sent = str(call.arguments.get(culprit.name))
    offered = [option for option in reading.options if option.value.lower() != sent.lower()]
    lessons.options.setdefault(culprit.name, []).extend(offered)
    lessons.formats.setdefault(culprit.name, []).extend(reading.formats)


def _culprit(call: Call, tool: Tool, reading: ErrorReading) -> Parameter | None:
    """Return the parameter an error is about: by quoted value, name, words, or as the only one."""
    sent = [item for item in tool.parameters if item.name in call.arguments]
    named = [item for item in tool.parameters if item.name in reading.quoted]
    if named:
        return named[0]
    by_value = [item for item in sent if names_value(reading, call.arguments[item.name])]
    if len(by_value) == 1:
        return by_value[0]
    words = set(content_words(reading.text))
    scored = [
        (len(words & set(content_words(item.description))), index)
        for index, item in enumerate(by_value or sent)
    ]
    best = max(scored, default=(0, 0), key=lambda pair: (pair[0], -pair[1]))
    if best[0]:
        return (by_value or sent)[best[1]]
    return sent[0] if len(sent) == 1 else None


def ranked_forms(value: Value, parameter: Parameter, kind: Kind, lessons: Lessons) -> list[Any]:
    """Return the forms an argument may take, the likeliest by what has been learnt first."""
    name = parameter.name
    offered = _offered_forms(value, parameter, kind, lessons)
    other = {
        option.value
        for option in lessons.options.get(name, ())
        if option.gloss and option.value not in offered
    }
    forms = [*offered, *(form for form in value.forms if str(form) not in other)]
    accepted = {shape(item) for item in lessons.accepted.get(name, ())}
    wanted = {format_shape(item) for item in lessons.formats.get(name, ())}
    refused = lessons.refused.get(name, [])
    refused_shapes = {shape(item) for item in refused} - accepted
    num_offered = len(offered)

    def order(pair: tuple[int, Any]) -> tuple[bool, bool, bool, int]:
        index, form = pair
        is_offered = index < num_offered
        fits = shape(form) in accepted or shape(form) in wanted
        return (form in refused, not (is_offered or fits), shape(form) in refused_shapes, index)

    ordered = [form for _, form in sorted(enumerate(forms), key=order)]
    unique: list[Any] = []
    for form in ordered:
        converted = as_type(form, parameter)
        if converted is not None and converted not in unique:
            unique.append(converted)
    return unique


def _offered_forms(value: Value, parameter: Parameter, kind: Kind, lessons: Lessons) -> list[Any]:
    """Return the offered options that stand for ``value``, the likest first.

    An option that names another value, such as an error's example, is none of them.
    """
    scored = []
    for option in lessons.options.get(parameter.name, ()):
        if names_another(option.value, value, kind, parameter):
            continue
        wanted = (value.said, *value.forms)
        score = max(
            max(likeness(item, option.value), likeness(item, option.gloss)) for item in wanted
        )
        if score >= _LIKE_ENOUGH:
            scored.append((score, option.value))
    scored.sort(key=lambda pair: -pair[0])
    return [text for _, text in scored]


def names_another(text: str, value: Value, kind: Kind, parameter: Parameter) -> bool:
    """Whether all of ``text`` is the name of a value of this kind, and not of ``value``."""
    own = {str(form).casefold() for form in (value.said, *value.forms)}
    whole = [item for item in kind.find(text, parameter) if item.end - item.start == len(text)]
    return bool(whole) and not any(
        own & {str(form).casefold() for form in item.value.forms} for item in whole
    )


def format_shape(text: str) -> str:
    """Return the shape of values of a format such as YYYY-MM-DD, or of an example value."""
    if re.fullmatch(r"[YMDHSymdhs]+(?:[-/.:T ]?[YMDHSymdhs]+)+", text):
        return shape(re.sub(r"[YMDHSymdhs]", "9", text))
    return shape(text)


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
    if parameter.type == "string" and not isinstance(form, str):
        return form if parameter.options else str(form)
    return form


def accepted_value(kind: Kind, parameter: Parameter, scene: Scene, lessons: Lessons) -> Value:
    """Draw a value for a new request, by preference one that the lessons say can be expressed."""
    value = kind.make(scene, parameter)
    options = lessons.options.get(parameter.name)
    refused = [item for item in lessons.refused.get(parameter.name, ()) if is_number(item)]
    if refused and not options and is_number(value.forms[0]):
        return _smaller(value, min(refused), kind, parameter, scene)
    if options and kind.name in ("text", "other number"):
        option = scene.rng.choice(options)
        return Value(option.gloss or option.value, (option.value,))
    if not options or kind.name not in _FREE or scene.rng.random() < 0.1:
        return value
    for _ in range(_DRAWS):
        if _offered_forms(value, parameter, kind, lessons) or value.forms[
            0
        ] in lessons.accepted.get(parameter.name, ()):
            return value
        spare = Scene(scene.rng, {"topic": scene.shared.get("topic", "")})
        value = kind.make(spare, parameter)
    return value


def is_number(value: Any) -> bool:
    """Whether a value is a number; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _smaller(value: Value, bound: float, kind: Kind, parameter: Parameter, scene: Scene) -> Value:
    """Draw again until the number lies below a refused one, which may have been too large."""
    for _ in range(_DRAWS):
        if value.forms[0] < bound:
            break
        value = kind.make(scene, parameter)
    return value

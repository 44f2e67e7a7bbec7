"""Writes calls in a form, as a template of that form does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ste_ray.core.native_calls.form import CallForm, Elements, ValueType, WrittenCall
from ste_ray.core.native_calls.loose_values import loose_text


def write_calls(calls: Sequence[WrittenCall], form: CallForm) -> str:
    """Return the calls as the form writes them, from its opening to its closing.

    Args:
        calls: whose ``arguments_text`` is a JSON object each; at least one.
        form: how to write them.

    Raises:
        ValueError: an ``arguments_text`` is no JSON object.
    """
    written = [_call(call, number, form) for number, call in enumerate(calls)]
    return form.opening + form.between.join(written) + form.closing


def _call(call: WrittenCall, number: int, form: CallForm) -> str:
    found = [form.gaps[0]]
    for slot, gap in zip(form.slots, form.gaps[1:], strict=True):
        found += [_slot(slot, call, number, form), gap]
    return "".join(found)


def _slot(slot: str, call: WrittenCall, number: int, form: CallForm) -> str:
    if slot == "arguments":
        return _arguments(call.arguments_text, form)
    text = {"name": call.name, "id": call.id, "index": str(number + form.first_index)}[slot]
    return json.dumps(text, ensure_ascii=False)[1:-1] if form.is_object else text


def _arguments(text: str, form: CallForm) -> str:
    if form.arguments == "json":
        return text
    if form.arguments == "json_text":
        return json.dumps(text, ensure_ascii=False)
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"{text!r} is no JSON object; give the arguments as one")
    if form.elements is None:
        return loose_text(value, form.quote)
    return _as_elements(value, form.elements)


def _as_elements(value: dict[str, Any], form: Elements) -> str:
    if not value:
        return form.none
    written = [
        f"{key}{form.after_key[type_of(one)]}{element_text(one, form)}"
        for key, one in value.items()
    ]
    return form.first + form.next.join(written) + form.last


def element_text(value: Any, form: Elements) -> str:
    """Return the text of an element with this value."""
    if isinstance(value, str):
        return repr(value) if form.literal else value
    return repr(value) if form.python else json.dumps(value, ensure_ascii=False)


def type_of(value: Any) -> ValueType:
    """Return the JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "number"

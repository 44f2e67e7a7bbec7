"""Reads one call at a place of a reply, in the form that a template writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ste_ray.core.native_calls.element_reading import ElementError, read_elements
from ste_ray.core.native_calls.form import CallForm, WrittenCall
from ste_ray.core.native_calls.loose_values import read_loose
from ste_ray.core.native_calls.matching import after, pattern_of, skip_space
from ste_ray.core.replies.strict_json import JSONTextError, clip, decode_value

_MAX_NAME = 256

_Path = tuple[str, ...]


class CallError(ValueError):
    """No call can be read there; the message says why."""


def read_call(
    text: str, place: int, form: CallForm, schemas: Mapping[str, Any]
) -> tuple[WrittenCall, int]:
    """Read the call that begins at ``place``.

    Returns:
        The call, and where it ends.

    Raises:
        CallError: there is none.
    """
    try:
        if form.is_object:
            return _object_call(text, skip_space(text, place), form)
        return _marked_call(text, place, form, schemas)
    except (JSONTextError, ElementError) as error:
        raise CallError(str(error)) from None


def _object_call(text: str, place: int, form: CallForm) -> tuple[WrittenCall, int]:
    if not text.startswith("{", place):
        near = clip(text[place : place + 30])
        raise CallError(f"no JSON object begins there, but {near}")
    found, end = _members(text, place, (), _wanted(form))
    if not form.name_path:
        if len(found) != 1:
            raise CallError(f"the object has {len(found)} keys; it must have one, the tool's name")
        ((path, span),) = found.items()
        return WrittenCall(name=path[0], arguments_text=text[slice(*span)]), end
    name = _text_at(text, found, form.name_path)
    if not name:
        raise CallError(f"{_said(form.name_path)} is no name")
    span = found.get(form.arguments_path, (0, 0))
    if not span[1]:
        raise CallError(f"{_said(form.arguments_path)} is missing")
    arguments = text[slice(*span)]
    if form.arguments == "json_text":
        value = json.loads(arguments)
        arguments = value if isinstance(value, str) else arguments
    identity = _text_at(text, found, form.id_path) if form.id_path else ""
    return WrittenCall(name=name, arguments_text=arguments, id=identity or ""), end


def _wanted(form: CallForm) -> frozenset[_Path]:
    """Return the paths of objects that must be looked into."""
    paths = (form.name_path, form.arguments_path, form.id_path)
    return frozenset(path[:length] for path in paths for length in range(1, len(path)))


def _members(
    text: str, start: int, above: _Path, wanted: frozenset[_Path]
) -> tuple[dict[_Path, tuple[int, int]], int]:
    """Return where the values of an object stand, by their paths, and where it ends.

    The keys of the objects in ``wanted`` count too.
    """
    _, _, end = decode_value(text, start)
    found: dict[_Path, tuple[int, int]] = {}
    place = skip_space(text, start + 1)
    while not text.startswith("}", place):
        key, _, place = decode_value(text, place)
        place = skip_space(text, skip_space(text, place) + 1)  # the colon
        _, _, stop = decode_value(text, place)
        path = (*above, key)
        if path in wanted and text.startswith("{", place):
            found |= _members(text, place, path, wanted)[0]
        found[path] = (place, stop)
        place = skip_space(text, stop)
        if text.startswith(",", place):
            place = skip_space(text, place + 1)
    return found, end


def _text_at(text: str, found: dict[_Path, tuple[int, int]], path: _Path) -> str:
    """Return the text at a path; empty: there is none."""
    start, end = found.get(path, (0, 0))
    value = json.loads(text[start:end]) if end else None
    return value if isinstance(value, str) else ""


def _said(path: tuple[str, ...]) -> str:
    return clip(".".join(path))


def _marked_call(
    text: str, place: int, form: CallForm, schemas: Mapping[str, Any]
) -> tuple[WrittenCall, int]:
    found: dict[str, str] = {}
    start = after(form.gaps[0], text, place)
    if start is None:
        raise CallError(f"{clip(form.gaps[0])} is missing")
    place = start
    for number, slot in enumerate(form.slots):
        gap = form.gaps[number + 1]
        if slot == "arguments":
            schema = schemas.get(found.get("name", ""))
            found[slot], place = _arguments(text, place, form, schema)
            following = after(gap, text, place)
            if following is None:
                raise CallError(f"{clip(gap)} is missing behind the arguments")
            place = following
            continue
        value, place = _short(text, place, _ends(form, number), slot)
        if found.setdefault(slot, value) != value:
            raise CallError(f"it has two names, {clip(found[slot])} and {clip(value)}")
    call = WrittenCall(
        name=found["name"], arguments_text=found["arguments"], id=found.get("id", "")
    )
    return call, place


def _ends(form: CallForm, number: int) -> tuple[tuple[str, bool], ...]:
    """Return what may stand behind a slot, and whether it belongs to what follows."""
    gap = form.gaps[number + 1]
    if gap.strip() or number + 1 == len(form.slots):
        return ((gap, False),)
    if form.arguments == "elements" and form.elements:
        one = form.elements
        return ((one.first, True), (one.none + form.after_calls, True))
    return (('"' if form.arguments == "json_text" else "{", True),)


def _short(text: str, place: int, ends: tuple[tuple[str, bool], ...], slot: str) -> tuple[str, int]:
    """Read a name or an id up to what stands behind it."""
    place = skip_space(text, place)
    stop = min(len(text), place + _MAX_NAME)
    best: tuple[int, int] | None = None
    for literal, stays in ends:
        found = pattern_of(literal).search(text, place, stop + len(literal) + 64)
        if found and (best is None or found.start() < best[0]):
            best = (found.start(), found.start() if stays else found.end())
    if best is None or best[0] > stop:
        raise CallError(f"{clip(ends[0][0].strip())} does not follow the {slot}")
    value = text[place : best[0]].strip()
    if not value or "\n" in value:
        raise CallError(f"{clip(value)} is no {slot}")
    return value, best[1]


def _arguments(text: str, place: int, form: CallForm, schema: Any) -> tuple[str, int]:
    if form.arguments == "elements" and form.elements:
        value, end = read_elements(text, place, form, schema)
        return json.dumps(value, ensure_ascii=False), end
    place = skip_space(text, place)
    if form.arguments == "loose":
        if not text.startswith("{", place):
            raise CallError(f"no arguments begin there, but {clip(text[place : place + 30])}")
        loose, end = read_loose(text, place, form.quote)
        return json.dumps(loose, ensure_ascii=False), end
    value, _, end = decode_value(text, place)
    if form.arguments == "json_text" and isinstance(value, str):
        return value, end
    return text[place:end], end

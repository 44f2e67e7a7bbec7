"""How one call is laid out, found in a marked call that a template wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from ste_ray.chat_tokens.call_forms.assembling import ARGUMENTS, Span, put_together, slots_before
from ste_ray.chat_tokens.call_forms.element_layout import as_elements
from ste_ray.chat_tokens.call_forms.probes import IDS, KEYS, NAMES, VALUES
from ste_ray.chat_tokens.call_forms.turns import Outline, Turns
from ste_ray.core.native_calls.form import CallForm

_MAX_LEVELS = 3


Maker = Callable[[Turns, Outline], CallForm | None]


def _as_object(turns: Turns, found: Outline) -> CallForm | None:
    """Find a JSON object that holds name and arguments."""
    text = found.written
    for start in _places(text, "{", found.opens, found.name):
        value, end = _decoded(text, start)
        if not isinstance(value, dict):
            continue
        arguments = _path(value, _is_arguments)
        name = _path(value, lambda one: one == NAMES[0])
        if value == {NAMES[0]: ARGUMENTS}:
            name, arguments = (), (NAMES[0],)
        if name is None or arguments is None:
            continue
        span = _arguments_in(text, start + 1, end)
        if span is None:
            continue
        identity = _path(value, lambda one: one in (IDS[0], "0")) or ()
        is_count = bool(identity) and _at(value, identity) == "0"
        slots = {"name": _quoted(text, NAMES[0], start), "arguments": (span.start, span.end)}
        if identity:
            mark = "0" if is_count else IDS[0]
            key = f'"{identity[-1]}"'
            where = _quoted(text, mark, text.index(key, start) + len(key))
            slots["index" if is_count else "id"] = where
        return put_together(
            turns,
            found,
            slots,
            (start, end),
            is_object=True,
            name_path=name,
            arguments_path=arguments if name else (),
            id_path=identity,
            arguments="json_text" if span.kind == "json_text" else "json",
        )
    return None


def _as_json(turns: Turns, found: Outline) -> CallForm | None:
    """Find a name in a text, and behind it arguments that are JSON."""
    behind = found.name + len(NAMES[0])
    span = _arguments_in(found.written, behind, len(found.written))
    if span is None:
        return None
    slots = slots_before(turns, found, span)
    kind = "json_text" if span.kind == "json_text" else "json"
    return put_together(turns, found, slots, None, is_object=False, arguments=kind)


def _as_loose(turns: Turns, found: Outline) -> CallForm | None:
    """Find arguments with bare keys, whose texts stand between marks."""
    behind = found.written[found.name :]
    pattern = rf"\{{\s*{KEYS[0]}\s*:\s*(\S{{1,40}}?){VALUES[0]}\1\s*\}}"
    match = re.search(pattern, behind)
    if not match or match[1] in ("'", '"'):
        return None
    span = Span(found.name + match.start(), found.name + match.end(), "loose", match[1])
    slots = slots_before(turns, found, span)
    return put_together(
        turns, found, slots, None, is_object=False, arguments="loose", quote=match[1]
    )


def _arguments_in(text: str, start: int, end: int) -> Span | None:
    for place in _places(text, "{", start, end):
        value, stop = _decoded(text, place)
        if value == ARGUMENTS:
            return Span(place, stop, "json")
    for place in _places(text, '"', start, end):
        value, stop = _decoded(text, place)
        if _is_arguments(value):
            return Span(place, stop, "json_text")
    return None


def _is_arguments(value: Any) -> bool:
    if isinstance(value, str):
        try:
            return bool(json.loads(value) == ARGUMENTS)
        except ValueError:
            return False
    return bool(value == ARGUMENTS)


def _path(
    value: dict[str, Any], wanted: Callable[[Any], bool], depth: int = 0
) -> tuple[str, ...] | None:
    """Return the keys that lead to what is wanted; None: it is not there."""
    for key, one in value.items():
        if wanted(one):
            return (key,)
        if isinstance(one, dict) and depth < _MAX_LEVELS:
            below = _path(one, wanted, depth + 1)
            if below is not None:
                return (key, *below)
    return None


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _quoted(text: str, mark: str, start: int) -> tuple[int, int]:
    place = text.index(f'"{mark}"', start) + 1
    return place, place + len(mark)


def _places(text: str, char: str, start: int, end: int) -> Iterator[int]:
    place = text.find(char, start, end)
    while place >= 0:
        yield place
        place = text.find(char, place + 1, end)


def _decoded(text: str, place: int) -> tuple[Any, int]:
    try:
        return json.JSONDecoder().raw_decode(text, place)
    except (ValueError, RecursionError):
        return None, place


#: What finds layouts, the likeliest first.
MAKERS: tuple[Maker, ...] = (_as_object, _as_json, _as_loose, as_elements)

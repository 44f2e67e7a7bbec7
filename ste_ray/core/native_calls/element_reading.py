"""Reads arguments that are written as one element each, with texts as they are."""

from __future__ import annotations

from typing import Any

from ste_ray.core.native_calls.form import CallForm, Elements
from ste_ray.core.native_calls.loose_values import read_literal, read_python
from ste_ray.core.native_calls.matching import (
    after,
    behind,
    leading_space,
    pattern_of,
    skip_space,
    trailing_space,
)
from ste_ray.core.native_calls.writing import type_of
from ste_ray.core.replies.strict_json import JSONTextError, clip, decode_value
from ste_ray.core.schemas.values import described

_MAX_KEY = 256
_MAX_ELEMENTS = 512


class ElementError(ValueError):
    """The elements cannot be read; the message says why."""


def read_elements(text: str, place: int, form: CallForm, schema: Any) -> tuple[dict[str, Any], int]:
    """Read the arguments that begin at ``place``.

    Args:
        text: that they stand in.
        place: behind what stands before them.
        form: with elements.
        schema: of the arguments; None: not known.

    Returns:
        The arguments, and where they end.

    Raises:
        ElementError: they are not complete, or a key is there twice.
    """
    elements = form.elements
    assert elements is not None, "only forms with elements are read here"
    if after(elements.none + form.after_calls, text, place) is not None:
        return {}, _behind_none(text, place, elements)
    start = after(elements.first, text, place)
    if start is None:
        near = clip(text[place : place + 40])
        raise ElementError(f"{clip(elements.first.strip())} is missing, there is {near}")
    found: dict[str, Any] = {}
    types = _Types(schema)
    place = start
    while len(found) < _MAX_ELEMENTS:
        key, kinds, place = _key(text, place, elements)
        if key in found:
            raise ElementError(f"the argument {clip(key)} is there more than once")
        if elements.literal:
            found[key], place, is_last = _literal(text, place, form, elements)
        else:
            value, place, is_last = _raw(text, place, form, elements)
            found[key] = types.value(key, value, kinds, elements)
        if is_last:
            return found, place
    raise ElementError(f"there are more than {_MAX_ELEMENTS} arguments")


def _behind_none(text: str, place: int, elements: Elements) -> int:
    end = after(elements.none, text, place) if elements.none.strip() else None
    return place if end is None else end


def _key(text: str, place: int, elements: Elements) -> tuple[str, frozenset[str], int]:
    """Read a key, and which types its value may be of by what stands behind it."""
    place = skip_space(text, place)
    best: tuple[int, int, str] | None = None
    for literal in dict.fromkeys(elements.after_key.values()):
        stop = place + _MAX_KEY + len(literal)
        found = pattern_of(literal).search(text, place, stop)
        # Of two at the same place the longer one stands there.
        if found and (best is None or (found.start(), -found.end()) < (best[0], -best[1])):
            best = (found.start(), found.end(), literal)
    if best is None:
        raise ElementError(
            f"an argument's name is not closed, near {clip(text[place : place + 40])}"
        )
    key = text[place : best[0]].strip()
    if not key or "\n" in key:
        raise ElementError(f"{clip(key)} is no name of an argument")
    kinds = frozenset(kind for kind, one in elements.after_key.items() if one == best[2])
    return key, kinds, behind(trailing_space(best[2]), text, best[1])


def _raw(text: str, place: int, form: CallForm, elements: Elements) -> tuple[str, int, bool]:
    """Read the text of a value: where it ends, and whether it is the last one."""
    ends = [(elements.next, False), (elements.last + form.after_calls, True)]
    best: tuple[int, int, str, bool] | None = None
    for literal, is_last in ends:
        found = pattern_of(literal).search(text, place)
        if found and (best is None or (found.start(), -found.end()) < (best[0], -best[1])):
            best = (found.start(), found.end(), literal, is_last)
    if best is None:
        raise ElementError(f"an argument is not closed by {clip(elements.last.strip())}")
    start, end, literal, is_last = best
    value = text[place:start]
    space = leading_space(literal)
    if space and value.endswith(space):
        value = value[: -len(space)]
    if is_last:
        end = after(elements.last, text, start) or start
    return value, end, is_last


def _literal(text: str, place: int, form: CallForm, elements: Elements) -> tuple[Any, int, bool]:
    """Read a value that ends itself: where it ends, and whether it is the last one."""
    try:
        value, place = read_literal(text, place)
    except JSONTextError as error:
        raise ElementError(str(error)) from None
    if (following := after(elements.next, text, place)) is not None:
        return value, following, False
    if after(elements.last + form.after_calls, text, place) is None:
        near = clip(text[place : place + 40])
        wanted = clip((elements.last + form.after_calls).strip())
        raise ElementError(f"an argument is not closed by {wanted}, near {near}")
    return value, after(elements.last, text, place) or place, True


class _Types:
    """Of which types the arguments of a tool are."""

    def __init__(self, schema: Any) -> None:
        self._tool = described(schema).whatever if isinstance(schema, dict) else None

    def value(self, key: str, text: str, kinds: frozenset[str], elements: Elements) -> Any:
        """Return what a text is the value of."""
        says_which = len(set(elements.after_key.values())) > 1
        types = kinds if says_which else self._of(key)
        if types == {"string"}:
            return text
        try:
            value = _decoded(text, elements)
        except JSONTextError:
            return text
        kind = type_of(value)
        if kind == "string":
            return text
        fits = kind in types or (kind == "number" and "integer" in types)
        return value if fits or "string" not in types else text

    def _of(self, key: str) -> frozenset[str]:
        """Return the types that an argument may have; none: they are not known."""
        if self._tool is None:
            return frozenset()
        said = self._tool.property(key).whatever
        types = {one for kind in said.all_of("type") for one in _listed(kind)}
        if types:
            return frozenset(types)
        values = [one for listed in said.all_of("enum") for one in _listed(listed)]
        return frozenset(type_of(one) for one in [*values, *said.all_of("const")])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _decoded(text: str, elements: Elements) -> Any:
    if elements.python:
        return read_python(text)
    value, _, end = decode_value(text.strip())
    if end != len(text.strip()):
        raise JSONTextError("something stands behind it")
    return value

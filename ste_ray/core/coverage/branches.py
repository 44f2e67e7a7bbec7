"""The branches of a schema: what calls of a tool can do differently, one by one.

A branch is a place in the arguments and a condition on what stands there: a parameter given or left
out, a value of an enumeration, a number at its bound, a list of one item or of several, one of
several types, an alternative of a union, at any depth. Schemas of any draft are read
(``schemas.values``). Conditions (``if``) and names that a schema does not list have none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ste_ray.core.records import canonical_json
from ste_ray.core.schemas.assertions import is_of_type, same_value
from ste_ray.core.schemas.values import Part, Place, described

MAX_BRANCHES = 400  # of one tool; a schema with more is known no further
_MAX_DEPTH = 6  # of properties and items within each other
_TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")


@dataclass(frozen=True)
class Items:
    """All items of a list from one on, as a step of a path."""

    start: int = 0


class _Absent:
    """Stands where an object lacks a property."""


ABSENT = _Absent()
Path = tuple[str | int | Items, ...]


@dataclass(frozen=True)
class Branch:
    """One branch of a schema.

    Attributes:
        name: what it is called in records and reports, as ``unit = "knot"``.
        path: where in the arguments its condition is looked at.
        holds: whether a value there, or ``ABSENT``, takes it.
        listed: whether it is a value that the schema lists.
    """

    name: str
    path: Path
    holds: Callable[[Any], bool]
    listed: bool = False


@dataclass(frozen=True)
class Schema:
    """What can be visited of a tool's parameters.

    Attributes:
        branches: in the order of the schema, ``MAX_BRANCHES`` at most.
        free: places whose values the schema does not list.
    """

    branches: tuple[Branch, ...]
    free: tuple[Path, ...]


def schema_of(parameters: dict[str, Any]) -> Schema:
    """Return what can be visited of the JSON Schema of a tool's parameters."""
    branches: dict[str, Branch] = {}
    free: dict[Path, None] = {}
    root = described(parameters)
    for path, found in _walk(root, root, (), ()):
        branches |= {branch.name: branch for branch in found}
        if not any(branch.listed for branch in found):
            free[path] = None
        if len(branches) > MAX_BRANCHES:
            break
    return Schema((*branches.values(),)[:MAX_BRANCHES], (*free,))


def values_at(value: Any, path: Path) -> list[Any]:
    """Return what stands at a path, once for each list item on the way.

    An object without the last property has ``ABSENT`` there.
    """
    if not path:
        return [value]
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        if not isinstance(value, dict) or (rest and step not in value):
            return []
        return values_at(value[step], rest) if step in value else [ABSENT]
    if not isinstance(value, list):
        return []
    inner = value[step.start :] if isinstance(step, Items) else value[step : step + 1]
    return [found for one in inner for found in values_at(one, rest)]


def shown_path(path: Path) -> str:
    """Return a path as people write it: ``filter.kinds[]``."""
    text = ""
    for step in path:
        if isinstance(step, str):
            text += f".{step}" if text else step
        else:
            text += "[]" if isinstance(step, Items) else f"[{step}]"
    return text or "arguments"


def _walk(
    place: Place, sure: Place, path: Path, above: Sequence[int], presence: Sequence[Branch] = ()
) -> Iterator[tuple[Path, list[Branch]]]:
    """Yield a place and those within it, each with its branches.

    A schema within itself is entered once.

    Args:
        place: with what all alternatives above it say.
        sure: the same with what holds for each of them alone.
        path: of the place.
        above: the schemas that it is within.
        presence: branches of whether there is something.
    """
    yield path, [*presence, *_own(place, sure, path)]
    if len(path) == _MAX_DEPTH or id(place.schema) in above:
        return
    above = (*above, id(place.schema))
    every, always, required = place.whatever, sure.always, _required(place)
    for name in every.names:
        at, presence = (*path, name), _presence((*path, name), name in required)
        yield from _walk(every.property(name), always.property(name), at, above, presence)
    for at, number in _items(every, path):
        yield from _walk(every.item(number), always.item(number), at, above)


def _required(place: Place) -> frozenset[str]:
    """Return the names that each alternative requires, those of no objects left aside."""
    found = place.always.required
    for objects in _objects(place):
        found |= frozenset.intersection(*(one.always.required for one in objects))
    return found


def _items(part: Part, path: Path) -> Iterator[tuple[Path, int]]:
    firsts = max((len(one) for one in part.all_of("prefixItems")), default=0)
    for number in range(firsts):
        yield (*path, number), number
    if part.has("items"):
        yield (*path, Items(firsts)), firsts


def _presence(path: Path, required: bool) -> list[Branch]:
    name = shown_path(path)
    given = Branch(f"{name} given", path, lambda value: value is not ABSENT)
    left_out = Branch(f"{name} left out", path, lambda value: value is ABSENT)
    return [given] if required else [given, left_out]


def _own(place: Place, sure: Place, path: Path) -> list[Branch]:
    """Return the branches of the value at a place, without what stands within it."""
    listed = list(_listed(place.whatever, sure, path))
    bounds = [] if listed else _bounds(place.whatever, path)
    kinds = _kinds(place, path, bool(listed))
    return [*listed, *kinds, *bounds, *_unions(place, path), *_lengths(place.whatever, path)]


def _listed(every: Part, sure: Place, path: Path) -> Iterator[Branch]:
    """Yield the values that a schema lists, unless there is but one."""
    values = [one for listed in every.all_of("enum") if isinstance(listed, list) for one in listed]
    values += every.all_of("const")
    if "boolean" in _types(every):
        values += [False, True]
    fitting = {canonical_json(value): value for value in values if sure.fits(value) is not False}
    if len(fitting) > 1:
        for text, value in fitting.items():
            yield Branch(f"{shown_path(path)} = {text}", path, _equals(value), listed=True)


def _equals(wanted: Any) -> Callable[[Any], bool]:
    return lambda value: same_value(value, wanted)


def _kinds(place: Place, path: Path, listed: bool) -> Iterator[Branch]:
    """Yield the types of a value of several types, but for those whose values are listed."""
    every = place.whatever
    types = _types(every)
    if len(types) < 2 or (listed and every.has("enum", "const")):
        return
    for kind in _TYPES:
        if kind in types and not (listed and kind == "boolean"):
            yield Branch(f"{shown_path(path)} is {kind}", path, _is(kind))


def _is(kind: str) -> Callable[[Any], bool]:
    return lambda value: is_of_type(value, kind)


def _unions(place: Place, path: Path) -> Iterator[Branch]:
    """Yield the alternatives of a union of objects."""
    for objects in _objects(place):
        for number, one in enumerate(objects if len(objects) > 1 else (), 1):
            title = one.whatever.first("title") or _constants(one.always) or f"no. {number}"
            yield Branch(f"{shown_path(path)} as {title}", path, _fits(one, objects))


def _objects(place: Place) -> Iterator[list[Place]]:
    """Yield of each union the alternatives that are objects, if there are any."""
    for alternatives in place.unions:
        if objects := [one for one in alternatives if _types(one.whatever) == {"object"}]:
            yield objects


def _fits(place: Place, among: Sequence[Place]) -> Callable[[Any], bool]:
    """Whether a value fits an alternative, or may fit it and certainly fits no other."""

    def holds(value: Any) -> bool:
        if not isinstance(value, dict):
            return False
        fit = place.fits(value)
        return fit is True or (fit is None and all(one.fits(value) is not True for one in among))

    return holds


def _constants(part: Part) -> str:
    """Return by which constants an alternative is told from others."""
    named = ((name, part.property(name).always) for name in part.names)
    return ", ".join(f"{name} {of.first('const')}" for name, of in named if of.has("const"))


def _types(part: Part) -> set[str]:
    found: set[str] = set()
    for said in part.all_of("type"):
        kinds = said if isinstance(said, list) else [said]
        found.update(kind for kind in kinds if kind in _TYPES)
    if "number" in found:
        found.discard("integer")
    return found or ({"object"} if part.names else set())


def _bounds(part: Part, path: Path) -> Iterator[Branch]:
    """Yield the least and the greatest number, as far as they are allowed themselves."""
    types = _types(part)
    if not types & {"integer", "number"}:
        return
    least, greatest = _numbers(part, "minimum"), _numbers(part, "maximum")
    if "number" not in types:
        least = [math.ceil(one) for one in least]
        least += [math.floor(one) + 1 for one in _numbers(part, "exclusiveMinimum")]
        greatest = [math.floor(one) for one in greatest]
        greatest += [math.ceil(one) - 1 for one in _numbers(part, "exclusiveMaximum")]
    for word, bounds, tightest in (("least", least, max), ("greatest", greatest, min)):
        if bounds:
            bound = tightest(bounds)
            name = f"{shown_path(path)} at its {word}, {canonical_json(bound)}"
            yield Branch(name, path, _equals(bound))


def _numbers(part: Part, keyword: str) -> list[Any]:
    found = [one for one in part.all_of(keyword) if is_of_type(one, "number")]
    # An integer beyond what a float holds is finite too.
    return [one for one in found if isinstance(one, int) or math.isfinite(one)]


def _lengths(part: Part, path: Path) -> Iterator[Branch]:
    """Yield a list of one item and one of several, where both may be."""
    if "array" not in _types(part) or part.has("prefixItems"):
        return
    least = max(_numbers(part, "minItems"), default=0)
    most = min(_numbers(part, "maxItems"), default=math.inf)
    if least <= 1 < most:
        name = shown_path(path)
        yield Branch(f"{name} of one item", path, lambda value: _length(value) == 1)
        yield Branch(f"{name} of several items", path, lambda value: _length(value) > 1)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0

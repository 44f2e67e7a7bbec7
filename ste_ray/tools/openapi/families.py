"""Which schemas of a document stand for others: the subtypes behind a ``discriminator``.

A schema with a discriminator and no alternatives of its own stands for its subtypes: those that its
mapping names, and those that refer to it in their ``allOf``, directly or not. Which of them a value
is, one of its properties says: by a name of the mapping, else by the name of the schema.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ste_ray.tools.openapi.document import Part, UnusableError

_SCHEMAS = "#/components/schemas/"
_MAX_SUBTYPES = 40  # of one schema; with more, it stands for its own fields alone
_MAX_LEVELS = 20


@dataclass(frozen=True)
class Subtype:
    """A schema, and what says that a value is of it.

    Attributes:
        part: of the schema.
        names: values of the property.
    """

    part: Part
    names: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """What a schema stands for.

    Attributes:
        key: the property that says which of them a value is.
        subtypes: what it stands for; for a schema without subtypes, itself alone.
        is_base: whether it stands for others than itself.
    """

    key: str
    subtypes: tuple[Subtype, ...]
    is_base: bool


class Families:
    """Finds the families of a document, when they are first asked for.

    Args:
        root: the document.
    """

    def __init__(self, root: Part) -> None:
        self._root = root
        self._parts: dict[str, Part] = {}
        self._parents: dict[str, set[str]] = {}
        self._found: dict[str, Family] | None = None

    def of(self, part: Part) -> Family | None:
        """Return what a schema that was referred to stands for; None: for itself alone."""
        if self._found is None:
            self._found = self._all()
        return self._found.get(part.location) if part.location else None

    def is_parent(self, part: Part, of: Part) -> bool:
        """Whether ``of`` takes over the fields of ``part``, rather than standing for it."""
        if self._found is None:
            self._found = self._all()
        return bool(of.location) and part.location in self._parents.get(of.location, ())

    def fields_of(self, part: Part) -> Part:
        """Return a schema without alternatives that are its own subtypes.

        Some list them beside the fields that these take over: they would lead in a circle.
        """
        schema = part.value
        if not isinstance(schema, Mapping):
            return part
        kept = {key: one for key, one in schema.items() if not self._lists_own(part, key, one)}
        return part.sibling(kept) if len(kept) < len(schema) else part

    def _lists_own(self, part: Part, keyword: str, listed: Any) -> bool:
        if keyword not in ("oneOf", "anyOf") or not isinstance(listed, list) or not part.location:
            return False
        return any(self.is_parent(part, target) for target in _targets(part, listed))

    def names_in(self, part: Part, discriminator: Mapping[str, Any], target: Part) -> list[str]:
        """Return the values by which a discriminator beside alternatives means ``target``.

        Without a mapping these are the schema's own name and, as services say it so, the names that
        its family gives it.
        """
        names = [
            name
            for name, reference in _mapping(discriminator).items()
            if self._mapped(part, reference) == target.location
        ]
        if names:
            return names
        family = self.of(target)
        known = family.subtypes[0].names if family and not family.is_base else ()
        return list(dict.fromkeys([*known, _last(target.location)]))

    def _all(self) -> dict[str, Family]:
        for name in self._listed():
            part = self._root.target(_SCHEMAS + _escaped(name))
            self._parts[part.location] = part
        for location, part in self._parts.items():
            self._parents[location] = set(_taken_over(part))
        children: dict[str, list[str]] = defaultdict(list)
        for location, parents in self._parents.items():
            for parent in parents:
                children[parent].append(location)
        found: dict[str, Family] = {}
        for location, part in list(self._parts.items()):
            discriminator = _own_discriminator(part.value)
            if discriminator:
                self._add(location, part, discriminator, children, found)
        return found

    def _listed(self) -> list[str]:
        components = self._root.value.get("components")
        schemas = components.get("schemas") if isinstance(components, Mapping) else None
        return list(schemas) if isinstance(schemas, Mapping) else []

    def _add(
        self,
        base: str,
        part: Part,
        discriminator: Mapping[str, Any],
        children: Mapping[str, list[str]],
        found: dict[str, Family],
    ) -> None:
        """Add the family of a base: what it stands for, and what each of its subtypes does."""
        names: dict[str, list[str]] = defaultdict(list)
        for name, reference in _mapping(discriminator).items():
            location = self._mapped(part, reference)
            if location:
                names[location].append(name)
        below = _descendants(base, children)
        members = [base, *dict.fromkeys([*names, *below])] if names or below else []
        for location in dict.fromkeys(members):
            inner = members if location == base else [location, *_descendants(location, children)]
            means = [one for one in dict.fromkeys(inner) if one != base or one in names]
            # Beside a mapping, a schema that it does not name may well be one around any subtype.
            if names and location not in (base, *names):
                continue
            if not means or len(means) > _MAX_SUBTYPES:
                continue
            subtypes = tuple(
                Subtype(self._parts[one], tuple(names.get(one) or [_last(one)])) for one in means
            )
            is_base = means != [location]
            found.setdefault(location, Family(discriminator["propertyName"], subtypes, is_base))

    def _mapped(self, part: Part, reference: Any) -> str:
        """Return the location of what a mapping names, a schema's name or a reference."""
        if not isinstance(reference, str):
            return ""
        named = reference in self._listed()
        try:
            target = (
                self._root.target(_SCHEMAS + _escaped(reference))
                if named
                else part.target(reference)
            )
        except UnusableError:
            return ""
        self._parts.setdefault(target.location, target)
        return target.location


def with_key(schema: dict[str, Any], key: str, names: list[str]) -> dict[str, Any]:
    """Return a schema of which a property must have one of these values."""
    only = {"const": names[0]} if len(names) == 1 else {"enum": names}
    return {**schema, "properties": {key: only}, "required": [key]}


def fitting(names: list[str], value: Any) -> list[str]:
    """Return those names that the schema of the property itself allows; none: leave it alone."""
    if not isinstance(value, Mapping):
        return names
    allowed = value.get("enum", [value["const"]] if "const" in value else None)
    return names if not isinstance(allowed, list) else [name for name in names if name in allowed]


def _descendants(location: str, children: Mapping[str, list[str]]) -> list[str]:
    found: dict[str, None] = {}
    level = [location]
    for _ in range(_MAX_LEVELS):
        level = [child for one in level for child in children.get(one, ()) if child not in found]
        found |= dict.fromkeys(level)
    found.pop(location, None)
    return list(found)


def _own_discriminator(schema: Any) -> Mapping[str, Any] | None:
    """Return the discriminator of a schema that lists no alternatives itself."""
    if not isinstance(schema, Mapping) or {"oneOf", "anyOf"} & schema.keys():
        return None
    return usable(schema.get("discriminator"))


def usable(discriminator: Any) -> Mapping[str, Any] | None:
    """Return a discriminator if it names a property."""
    named = isinstance(discriminator, Mapping) and isinstance(
        discriminator.get("propertyName"), str
    )
    return discriminator if named else None


def _mapping(discriminator: Mapping[str, Any]) -> Mapping[str, Any]:
    mapping = discriminator.get("mapping")
    return mapping if isinstance(mapping, Mapping) else {}


def _taken_over(part: Part) -> list[str]:
    """Return the locations of the schemas that stand in a schema's ``allOf``."""
    parts = part.value.get("allOf") if isinstance(part.value, Mapping) else None
    return [target.location for target in _targets(part, parts if isinstance(parts, list) else [])]


def _targets(part: Part, listed: list[Any]) -> list[Part]:
    """Return what the references among schemas lead to, as far as they lead anywhere."""
    found = []
    for one in listed:
        if isinstance(one, Mapping) and isinstance(one.get("$ref"), str):
            try:
                found.append(part.target(one["$ref"]))
            except UnusableError:
                continue  # told of where it is needed
    return found


def _escaped(name: str) -> str:
    return quote(name.replace("~", "~0").replace("/", "~1"), safe="~")


def _last(location: str) -> str:
    return location.rpartition("/")[2].replace("~1", "/").replace("~0", "~")

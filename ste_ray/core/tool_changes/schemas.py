"""What changed in a schema, place by place.

Schemas that only are written otherwise do not differ (``core.schemas.canonical``). What differs in
a way that no kind of change describes is told as a change of its rules, so that nothing is missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ste_ray.core.records import canonical_json
from ste_ray.core.schemas.canonical import Node, SchemaReader
from ste_ray.core.schemas.keywords import COLLECTED, KINDS, LOWER_BOUNDS, UPPER_BOUNDS
from ste_ray.core.schemas.references import UnusableSchemaError
from ste_ray.core.schemas.rules import Branch, Rules
from ste_ray.core.schemas.sameness import Sameness
from ste_ray.core.tool_changes import differences as made
from ste_ray.core.tool_changes.differences import Difference
from ste_ray.core.tool_changes.places import Place

_MAX_PLACES = 2_000  # that differ; one definition may be used in very many
_ELSEWHERE = frozenset(
    {
        *("properties", "required", "items", "prefixItems", "patternProperties"),
        *("additionalProperties", "propertyNames", "anyOf", "oneOf", "enum", "integer"),
    }
)


def schema_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Return what differs between two JSON Schemas; empty: they say the same."""
    if canonical_json(old) == canonical_json(new):
        return []
    try:
        before, after = SchemaReader(old), SchemaReader(new)
        return _Walk(before, after).found()
    except (UnusableSchemaError, RecursionError):
        return [made.rule(Place(), "", "the schema is another one, and cannot be followed")]


class _Walk:
    def __init__(self, old: SchemaReader, new: SchemaReader) -> None:
        self._roots = old.root, new.root
        self._anything = old.node(True), new.node(True)
        self._means = Sameness(notes=False)
        self._says = Sameness(notes=True)
        self._within: set[tuple[Any, Any]] = set()  # what refers to itself is entered once
        self._left = _MAX_PLACES

    def found(self) -> list[Difference]:
        """Return each difference once, although values of several types may be concerned."""
        walked = self._nodes(*self._roots, Place())
        found = list({(one.kind, one.path, one.detail): one for one in walked}.values())
        if any(one.group == "retrain" for one in found):
            return found
        if not self._means.same(*self._roots):
            found.append(made.rule(Place(), "", "what the schema takes has changed"))
        elif not found and not self._says.same(*self._roots):
            found.append(Difference("prompts", "note", Place(), "", "what it tells has changed"))
        return found

    def _nodes(self, old: Node, new: Node, place: Place) -> Iterator[Difference]:
        pair = (old.key, new.key)
        if pair in self._within or self._left < 0 or self._says.same(old, new):
            return
        self._left -= 1
        self._within.add(pair)
        yield from made.told(old.form, new.form, place)
        yield from made.retyped(old.form, new.form, place)
        for kind in KINDS:
            if kind in old.form.kinds and kind in new.form.kinds:
                yield from self._rules(old.form.kinds[kind], new.form.kinds[kind], place)
        self._within.discard(pair)

    def _rules(self, old: Rules, new: Rules, place: Place) -> Iterator[Difference]:
        yield from made.enumerated(old, new, place)
        yield from self._properties(old, new, place)
        yield from self._items(old, new, place)
        for keyword in ("additionalProperties", "propertyNames"):
            yield from self._single(keyword, old, new, place.within(keyword))
        patterns = [one.get("patternProperties", {}) for one in (old, new)]
        for name in sorted({*patterns[0], *patterns[1]}):
            here = place.within("patternProperties", name)
            yield from self._single(name, patterns[0], patterns[1], here)
        for keyword in ("anyOf", "oneOf"):
            yield from self._alternatives(keyword, old, new, place)
        for keyword in sorted({*old, *new} - _ELSEWHERE):
            yield from self._other(keyword, old.get(keyword), new.get(keyword), place)

    def _properties(self, old: Rules, new: Rules, place: Place) -> Iterator[Difference]:
        before, after = (one.get("properties", {}) for one in (old, new))
        needed = [one.get("required", frozenset()) for one in (old, new)]
        names = {*before, *needed[0]}, {*after, *needed[1]}
        for name in sorted(names[0] - names[1]):
            yield made.removed(place.property(name), before.get(name, self._anything[0]))
        for name in sorted(names[1] - names[0]):
            node = after.get(name, self._anything[1])
            yield made.added(place.property(name), node, required=name in needed[1])
        for name in sorted(names[0] & names[1]):
            here = place.property(name)
            yield from self._single(name, before, after, here)
            if (name in needed[0]) != (name in needed[1]):
                yield made.required(here, place.keyword("required"), name in needed[1])

    def _items(self, old: Rules, new: Rules, place: Place) -> Iterator[Difference]:
        firsts = [one.get("prefixItems", ()) for one in (old, new)]
        for at in range(max(map(len, firsts))):
            before, after = (
                first[at] if at < len(first) else rules.get("items", anything)
                for first, rules, anything in zip(firsts, (old, new), self._anything, strict=True)
            )
            yield from self._nodes(before, after, place.item(at))
        yield from self._single("items", old, new, place.item())

    def _single(
        self, name: str, old: Mapping[str, Node], new: Mapping[str, Node], place: Place
    ) -> Iterator[Difference]:
        """Compare what stands under one name or keyword; where nothing does, anything is taken."""
        if name in old or name in new:
            before, after = old.get(name, self._anything[0]), new.get(name, self._anything[1])
            yield from self._nodes(before, after, place)

    def _alternatives(
        self, keyword: str, old: Rules, new: Rules, place: Place
    ) -> Iterator[Difference]:
        """Pair the alternatives that are left when those that say the same are set aside."""
        before, after = _branches(old.get(keyword, ())), _branches(new.get(keyword, ()))
        gone = [one for one in before if not any(self._same(one, two) for two in after)]
        more = [two for two in after if not any(self._same(one, two) for one in before)]
        if len(gone) == len(more) == 1 and len(before) == len(after):
            yield from self._branch(gone[0], more[0], place)
        elif gone or more:
            detail = f"of {len(before)} alternatives {len(gone)} are gone, {len(more)} are new"
            breaks = bool(gone or not before) and bool(after)
            yield made.rule(place, place.keyword(keyword), detail, breaks)

    def _same(self, old: Branch, new: Branch) -> bool:
        return self._says.same_parts(old, new)

    def _branch(self, old: Branch, new: Branch, place: Place) -> Iterator[Difference]:
        pair = (old.node.key, new.node.key)
        if pair not in self._within:
            self._within.add(pair)
            yield from made.told(old.node.form, new.node.form, place)
            yield from self._rules(old.rules, new.rules, place)
            self._within.discard(pair)

    def _other(self, keyword: str, old: Any, new: Any, place: Place) -> Iterator[Difference]:
        if self._means.same_parts(old, new):
            return
        if keyword in LOWER_BOUNDS or keyword in UPPER_BOUNDS:
            yield made.bounded(keyword, old, new, place)
        elif keyword in COLLECTED:
            yield made.formatted(keyword, old, new, place)
        else:
            detail = f"{keyword} {made.how(old, new)}"
            yield made.rule(place, place.keyword(keyword), detail, new is not None)


def _branches(groups: tuple[tuple[Branch, ...], ...]) -> list[Branch]:
    return [branch for group in groups for branch in group]

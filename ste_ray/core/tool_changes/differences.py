"""A difference between two schemas at one place, by kind, with what it means for learned calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from ste_ray.core.schemas.canonical import ABSENT, Form, Node
from ste_ray.core.schemas.keywords import KINDS, LOWER_BOUNDS
from ste_ray.core.schemas.rules import Rules, is_whole
from ste_ray.core.schemas.sameness import same_default
from ste_ray.core.texts.cutting import ellipsed
from ste_ray.core.texts.nearest import listed
from ste_ray.core.tool_changes.places import Place
from ste_ray.core.tool_changes.records import Group, Kind

_VALUE_CHARS = 60


class Difference(NamedTuple):
    """A difference at one place; the other fields are those of ``records.Change``."""

    group: Group
    kind: Kind
    place: Place
    path: str
    detail: str
    breaks: bool = False
    before: Any = None
    after: Any = None


def rule(place: Place, path: str, detail: str, breaks: bool = True) -> Difference:
    """Return a difference of which only the place can be told."""
    return Difference("retrain", "rule", place, path, detail, breaks)


def removed(place: Place, node: Node) -> Difference:
    """Return that a parameter is gone."""
    detail, was = "calls that give it are refused", outline(node.form)
    return Difference("retrain", "parameter removed", place, place.path, detail, True, before=was)


def added(place: Place, node: Node, *, required: bool) -> Difference:
    """Return that there is another parameter."""
    shown = outline(node.form)
    meaning = (
        "required: calls without it are refused"
        if required
        else "optional: calls stay right, none gives it"
    )
    detail = f"{shown}; {meaning}"
    return Difference(
        "retrain", "parameter added", place, place.path, detail, required, after=shown
    )


def required(place: Place, path: str, now: bool) -> Difference:
    """Return that a parameter must be given now, or no more."""
    detail = "now required: calls without it are refused" if now else "no more required"
    return Difference("retrain", "required", place, path, detail, now, before=not now, after=now)


def retyped(old: Form, new: Form, place: Place) -> Iterator[Difference]:
    """Yield that values of other types are taken."""
    before, after = _types(old), _types(new)
    if before != after:
        known = {*after, "integer"} if "number" in after else {*after}
        detail = f"{_types_text(before)} → {_types_text(after)}"
        breaks = not known.issuperset(before)
        path = place.keyword("type")
        yield Difference("retrain", "type", place, path, detail, breaks, list(before), list(after))


def enumerated(old: Rules, new: Rules, place: Place) -> Iterator[Difference]:
    """Yield that other values of a type are listed."""
    before, after = old.get("enum"), new.get("enum")
    if before == after:
        return
    gone, more = (before or frozenset()) - (after or frozenset()), frozenset[Any]()
    if before is None:
        detail = f"now one of {_values(after)}"
    elif after is None:
        detail = f"no more limited to {_values(before)}"
        gone = frozenset()
    else:
        more = after - before
        parts = [
            f"without {_values(gone)}" if gone else "",
            f"with {_values(more)}" if more else "",
        ]
        detail = ", ".join(filter(None, parts))
    path = place.keyword("enum")
    breaks = before is None or bool(gone)
    shown = [None if one is None else sorted(one, key=json.dumps) for one in (before, after)]
    yield Difference("retrain", "enum", place, path, detail, breaks, *shown)


def bounded(keyword: str, old: Any, new: Any, place: Place) -> Difference:
    """Return that a bound is another one."""
    looser = new is None
    if old is not None and new is not None:
        looser = new < old if keyword in LOWER_BOUNDS else new > old
    detail = f"{keyword} {_value(old)} → {_value(new)}"
    path = place.keyword(keyword)
    return Difference("retrain", "bounds", place, path, detail, not looser, old, new)


def formatted(keyword: str, old: Any, new: Any, place: Place) -> Difference:
    """Return that texts or numbers are to be written otherwise."""
    before, after = ([] if one is None else sorted(one) for one in (old, new))
    detail = f"{keyword} {_values(before) or 'none'} → {_values(after) or 'none'}"
    path = place.keyword(keyword)
    return Difference("retrain", "format", place, path, detail, bool(after), before, after)


def told(old: Form, new: Form, place: Place) -> Iterator[Difference]:
    """Yield what is told otherwise: description, default and notes."""
    if old.texts != new.texts:
        before, after = ("\n".join(sorted(one.texts)) for one in (old, new))
        path = place.keyword("description")
        yield Difference(
            "prompts", "description", place, path, how(before, after), False, before, after
        )
    if not same_default(old.default, new.default):
        yield _defaulted(old.default, new.default, place)
    for keyword in sorted({*old.notes, *new.notes}):
        before, after = old.notes.get(keyword, ""), new.notes.get(keyword, "")
        if before != after:
            path, detail = place.keyword(keyword), f"{keyword} {how(before, after)}"
            yield Difference("prompts", "note", place, path, detail)


def _defaulted(old: Any, new: Any, place: Place) -> Difference:
    before, after = ("none" if one is ABSENT else _value(one) for one in (old, new))
    told_one = [one for one in (old, new) if one is not ABSENT]
    # That null stands for "left out" is how some write that there is no default.
    group: Group = "prompts" if told_one == [None] else "retrain"
    breaks = len(told_one) == 2
    meaning = "; leaving it out means something else" if breaks else ""
    shown = [None if one is ABSENT else one for one in (old, new)]
    path = place.keyword("default")
    return Difference(group, "default", place, path, f"{before} → {after}{meaning}", breaks, *shown)


def outline(form: Form) -> str:
    """Return in words which values are taken."""
    values = [one for rules in form.kinds.values() for one in rules.get("enum", ())]
    shown = f", one of {_values(values)}" if values else ""
    return f"{_types_text(_types(form))}{shown}"


def how(old: Any, new: Any) -> str:
    """Return whether something came, went or is another one."""
    if not old:
        return "added"
    return "changed" if new else "removed"


def _types(form: Form) -> tuple[str, ...]:
    return tuple(_type(kind, form.kinds[kind]) for kind in KINDS if kind in form.kinds)


def _type(kind: str, rules: Rules) -> str:
    if kind != "number":
        return kind
    values = rules.get("enum", (0.5,))
    return "integer" if rules.get("integer") or all(map(is_whole, values)) else kind


def _types_text(types: tuple[str, ...]) -> str:
    if len(types) == len(KINDS) and "integer" not in types:
        return "anything"
    first = [one for one in types if one != "null"]
    return " or ".join([*first, *(["null"] if "null" in types else [])]) or "nothing"


def _values(values: Any) -> str:
    return listed([_value(one) for one in sorted(values, key=json.dumps)])


def _value(value: Any) -> str:
    return (
        "none" if value is None else ellipsed(json.dumps(value, ensure_ascii=False), _VALUE_CHARS)
    )

"""What holds of values of one type where two sets of rules hold, and what of it says nothing."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

from ste_ray.core.schemas.keywords import LOWER_BOUNDS, MAPPED, SINGLE, UPPER_BOUNDS
from ste_ray.core.schemas.rules import Alternatives, Rules, is_whole


def conjunction(one: Rules, other: Rules, kind: str) -> Rules:
    """Return the rules that hold for values of a type where two sets of rules hold."""
    if not one or not other:
        return one or other
    found = {**one, **other}
    for keyword in one.keys() & other.keys():
        found[keyword] = _merged(keyword, one[keyword], other[keyword])
    if kind == "object":
        found |= _objects(one, other)
    if kind == "array":
        found |= _lists(one, other)
    return found


def _merged(keyword: str, one: Any, other: Any) -> Any:
    if keyword in LOWER_BOUNDS:
        return max(one, other)
    if keyword in UPPER_BOUNDS:
        return min(one, other)
    if keyword == "enum":
        return one & other
    if keyword in ("integer", "uniqueItems"):
        return one or other
    if isinstance(one, frozenset):
        return one | other
    if isinstance(one, Alternatives):
        return Alternatives([*one, *other])
    if isinstance(one, dict):  # of nodes, or of names that need others
        both = {
            name: one[name] | other[name]
            if isinstance(one[name], frozenset)
            else one[name].joined(other[name])
            for name in one.keys() & other.keys()
        }
        return {**one, **other, **both}
    return one if isinstance(one, str | tuple) else one.joined(other)


def _objects(one: Rules, other: Rules) -> dict[str, Any]:
    """Put properties together: what one schema lists is an additional property to the other."""
    listed_ones = [rules.get("properties", {}) for rules in (one, other)]
    names = {**listed_ones[0], **listed_ones[1]}
    if not names:
        return {}
    found = {}
    for name in names:
        parts = [
            of[name] if name in of else rules.get("additionalProperties")
            for of, rules in zip(listed_ones, (one, other), strict=True)
        ]
        found[name] = reduce(lambda a, b: a.joined(b), [part for part in parts if part is not None])
    return {"properties": found}


def _lists(one: Rules, other: Rules) -> dict[str, Any]:
    firsts = [rules.get("prefixItems", ()) for rules in (one, other)]
    if not any(firsts):
        return {}
    found = []
    for at in range(max(map(len, firsts))):
        parts = [
            first[at] if at < len(first) else rules.get("items")
            for first, rules in zip(firsts, (one, other), strict=True)
        ]
        found.append(reduce(lambda a, b: a.joined(b), [one for one in parts if one is not None]))
    return {"prefixItems": tuple(found)}


def finished(rules: Rules, kind: str) -> Rules | None:
    """Return rules without what says nothing beside the others; None: no value fits them."""
    found = dict(rules)
    if kind == "number":
        _tidy_numbers(found)
    for keyword in ("minLength", "minItems", "minProperties"):
        if found.get(keyword) == 0:
            del found[keyword]
    if found.get("uniqueItems") is False:
        del found["uniqueItems"]
    for keyword in SINGLE.get(kind, ()):
        if keyword in found and found[keyword].says_nothing:
            del found[keyword]
    while (
        found.get("prefixItems") and "items" not in found and found["prefixItems"][-1].says_nothing
    ):
        found["prefixItems"] = found["prefixItems"][:-1]
    for keyword in ("prefixItems", *MAPPED, "required", "dependentRequired"):
        if keyword in found and not found[keyword]:
            del found[keyword]
    return _with_values(found, kind) if "enum" in found else found


def _tidy_numbers(rules: dict[str, Any]) -> None:
    steps = rules.pop("multipleOf", frozenset())
    if any(map(is_whole, steps)):
        rules["integer"] = True
    if steps := frozenset(one for one in steps if one != 1):
        rules["multipleOf"] = steps
    for inclusive, exclusive, sign in (
        ("minimum", "exclusiveMinimum", 1),
        ("maximum", "exclusiveMaximum", -1),
    ):
        bounds = [sign * rules[inclusive]] if inclusive in rules else []
        if exclusive in rules:
            beyond = sign * rules[exclusive]
            if rules.get("integer"):
                bounds.append(math.floor(beyond) + 1)
                del rules[exclusive]
            elif bounds and bounds[0] > beyond:
                del rules[exclusive]
            elif bounds:
                del rules[inclusive]
                continue
        if bounds:
            bound = max(bounds)
            rules[inclusive] = sign * (math.ceil(bound) if rules.get("integer") else bound)


def _with_values(rules: dict[str, Any], kind: str) -> Rules | None:
    """Leave of the listed values those that fit, and of the other rules those that say more."""
    values = frozenset(one for one in rules["enum"] if _fits(one, rules, kind))
    if not values:
        return None
    told = {*LOWER_BOUNDS, *UPPER_BOUNDS, "integer"} if kind in ("number", "string") else set()
    found = {keyword: rule for keyword, rule in rules.items() if keyword not in told}
    if kind == "null" or (kind == "boolean" and len(values) == 2):
        del found["enum"]
        return found
    return found | {"enum": values}


def _fits(value: Any, rules: Rules, kind: str) -> bool:
    if kind == "string":
        return bool(rules.get("minLength", 0) <= len(value) <= rules.get("maxLength", len(value)))
    if kind == "number":
        return bool(
            rules.get("minimum", value) <= value <= rules.get("maximum", value)
            and ("exclusiveMinimum" not in rules or value > rules["exclusiveMinimum"])
            and ("exclusiveMaximum" not in rules or value < rules["exclusiveMaximum"])
            and (not rules.get("integer") or is_whole(value))
        )
    return True

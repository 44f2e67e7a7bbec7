"""Comparing the arguments of a call with the right ones, strictly, by type and schema.

What a schema says of a value decides how it is compared: ``enum``, ``const`` and ``pattern`` of
texts of which every character counts, ``format`` of dates and times, ``uniqueItems`` of lists
without an order, and keywords of this project's own (``schemas.own_keywords``). It is found
wherever the schema says it: behind references, in parts of ``allOf``, and in the alternatives that
the right value fits (``schemas``).
"""

from __future__ import annotations

import datetime
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ste_ray.core.schemas.values import Part, Place, described
from ste_ray.core.scoring.quantities import same_quantity, same_unit


@dataclass(frozen=True, slots=True)
class ArgumentDifferences:
    """Names of the arguments that differ, sorted; all empty means equal.

    ``open`` are those among ``wrong`` that are plain texts on both sides and of which the schema
    says nothing more: they may still mean the same, which no rule can tell.
    """

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    open: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.wrong)

    @property
    def undecided(self) -> bool:
        """Whether nothing but texts differs of which no rule can tell what they mean."""
        return bool(self.open) and self.open == self.wrong and not (self.missing or self.extra)


_EQUAL = ArgumentDifferences()
_TIMES = ("date", "date-time", "time")
# Of these, letters in the other case are other data.
_EXACT_FORMATS = ("byte", "binary", "password", "regex", "json-pointer", "uri-template")
_SCALARS = frozenset({str, int, float, bool, type(None)})


def compare_arguments(
    gold: dict[str, Any],
    predicted: dict[str, Any],
    schema: Any,
    accepted: Mapping[str, Sequence[Any]] | None = None,
) -> ArgumentDifferences:
    """Compare two argument objects under the JSON Schema of the object.

    Numbers are equal by value (1 and 1.0), never to a boolean or a string: "1" is wrong for 1.
    Strings are equal after Unicode NFC, case folding, and with white space collapsed; enumerated,
    constant and patterned ones only as they are written. Lists are equal in order, objects as here.
    Dates and times with a ``format`` are equal as points in time, values with an ``x-unit`` as
    quantities, names of units with ``x-unit-name`` as units, texts with ``x-separators`` without
    these characters. An optional argument that equals its schema's ``default`` counts as absent, on
    both sides; any other argument beyond the right ones is extra.

    Args:
        gold: the right arguments.
        predicted: the arguments of the call.
        schema: the JSON Schema of the object; what it does not describe is compared by value alone.
        accepted: further right values of an argument, by its name.
    """
    if gold == predicted and _same_types(gold, predicted):
        return _EQUAL
    return _compare_objects(gold, predicted, described(schema), accepted or {})


def _compare_objects(
    gold: dict[str, Any],
    predicted: dict[str, Any],
    place: Place,
    accepted: Mapping[str, Sequence[Any]],
) -> ArgumentDifferences:
    said = place.of(gold)
    missing, extra, wrong, undecided = [], [], [], []
    for name, right in gold.items():
        if name not in predicted:
            if name in said.required or not _is_default(right, said.property(name)):
                missing.append(name)
            continue
        value = predicted[name]
        if type(right) is type(value) and right == value and type(right) in _SCALARS:
            continue
        of_name = said.property(name)
        if _equal(right, value, of_name) or any(
            _equal(other, value, of_name) for other in accepted.get(name, ())
        ):
            continue
        wrong.append(name)
        if _is_open(right, value, of_name):
            undecided.append(name)
    for name, value in predicted.items():
        if name not in gold and not _may_be_there(
            value, said.property(name), accepted.get(name, ()), name in said.required
        ):
            extra.append(name)
    return ArgumentDifferences(*map(_sorted, (missing, extra, wrong, undecided)))


def _sorted(names: list[str]) -> tuple[str, ...]:
    return tuple(sorted(names)) if len(names) > 1 else tuple(names)


def _may_be_there(value: Any, place: Place, accepted: Sequence[Any], required: bool) -> bool:
    """Whether an argument that the right call does not have changes nothing."""
    if any(_equal(right, value, place) for right in accepted):
        return True
    return not required and _is_default(value, place)


def _same_types(gold: dict[str, Any], predicted: dict[str, Any]) -> bool:
    """Whether equal objects hold the same types, none of them nested: True == 1 is not enough."""
    for name, value in gold.items():
        kind = type(value)
        if kind is not type(predicted[name]) or kind is dict or kind is list:
            return False
    return True


def _equal(gold: Any, predicted: Any, place: Place) -> bool:
    said = place.of(gold)
    by_rule = _by_rule(gold, predicted, said)
    if by_rule is not None:
        return by_rule
    if isinstance(gold, str):
        return isinstance(predicted, str) and _same_text(gold, predicted)
    if isinstance(gold, bool) or isinstance(predicted, bool):
        return gold is predicted
    if isinstance(gold, dict):
        return isinstance(predicted, dict) and not _compare_objects(gold, predicted, place, {})
    if isinstance(gold, list):
        return isinstance(predicted, list) and _equal_lists(gold, predicted, said)
    if isinstance(gold, float) or isinstance(predicted, float):
        return _equal_numbers(gold, predicted)
    return bool(gold == predicted)  # whole numbers and null


def _by_rule(gold: Any, predicted: Any, said: Part) -> bool | None:
    """Compare as the schema says; None where it says nothing, or a value cannot be read so."""
    rules = said.rules
    if not rules:
        return None
    if "x-unit" in rules:
        return same_quantity(gold, predicted, str(rules["x-unit"]))
    if not (isinstance(gold, str) and isinstance(predicted, str)):
        return None
    if rules.get("x-unit-name") is True:
        return same_unit(gold, predicted)
    separators = rules.get("x-separators")
    if not isinstance(separators, str):
        return _by_text_rule(gold, predicted, rules)
    gold, predicted = (_without(separators, text) for text in (gold, predicted))
    same = _by_text_rule(gold, predicted, rules)
    return _same_text(gold, predicted) if same is None else same


def _by_text_rule(gold: str, predicted: str, rules: Mapping[str, Any]) -> bool | None:
    if rules.get("x-exact") is True or "enum" in rules or "const" in rules:
        return gold == predicted
    if rules.get("format") in _TIMES:
        same = _same_time(gold, predicted, rules["format"])
        return gold == predicted if same is None and "pattern" in rules else same
    exact = "pattern" in rules or rules.get("format") in _EXACT_FORMATS
    return gold == predicted if exact else None


def _without(separators: str, text: str) -> str:
    return "".join(char for char in text if char not in separators)


def _same_text(gold: str, predicted: str) -> bool:
    return gold == predicted or _normalized(gold) == _normalized(predicted)


def _equal_numbers(gold: Any, predicted: Any) -> bool:
    if not isinstance(gold, int | float) or not isinstance(predicted, int | float):
        return False
    try:
        return gold == predicted or math.isclose(gold, predicted, rel_tol=1e-9)
    except OverflowError:  # a whole number that no float can hold
        return False


def _equal_lists(gold: list[Any], predicted: list[Any], said: Part) -> bool:
    if len(gold) != len(predicted):
        return False
    if not said.is_true("uniqueItems", "x-unordered"):
        pairs = zip(gold, predicted, strict=True)
        return all(_equal(one, other, said.item(at)) for at, (one, other) in enumerate(pairs))
    left = list(predicted)
    for at, one in enumerate(gold):
        of_item = said.item(at)
        place = next((i for i, other in enumerate(left) if _equal(one, other, of_item)), None)
        if place is None:
            return False
        del left[place]
    return True


def _same_time(gold: str, predicted: str, kind: str) -> bool | None:
    """Whether two ISO 8601 texts are the same point in time; None where one is none."""
    parsed = [_time(text.strip(), kind) for text in (gold, predicted)]
    if parsed[0] is None or parsed[1] is None:
        return None
    return bool(parsed[0] == parsed[1])


def _time(text: str, kind: str) -> Any:
    try:
        if kind == "date":
            return datetime.date.fromisoformat(text)
        if kind == "time":
            return datetime.time.fromisoformat(text)
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    # Without a zone a time is no point in time; it equals only another one without.
    return (moment.tzinfo is None, moment)


def _is_open(gold: Any, predicted: Any, place: Place) -> bool:
    if not (isinstance(gold, str) and isinstance(predicted, str)):
        return False
    return not place.of(gold).rules


def _is_default(value: Any, place: Place) -> bool:
    said = place.of(value)
    return said.has("default") and _equal(said.first("default"), value, place)


def _normalized(text: str) -> str:
    if text.isascii():
        return " ".join(text.lower().split())
    # Case folding can undo the normal form, so it is made again.
    folded = unicodedata.normalize("NFC", text).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split())

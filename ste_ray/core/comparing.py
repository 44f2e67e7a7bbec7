"""Comparing the arguments of a call with the right ones, strictly, by type and schema."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ArgumentDifferences:
    """Names of the arguments that differ, sorted; all empty means equal."""

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.wrong)


_EQUAL = ArgumentDifferences()


def compare_arguments(
    gold: dict[str, Any], predicted: dict[str, Any], schema: Any
) -> ArgumentDifferences:
    """Compare two argument objects under the JSON Schema of the object.

    Numbers are equal by value (1 and 1.0), never to a boolean or a string: "1" is wrong for 1.
    Strings are equal after Unicode NFC, case folding, and with white space collapsed. Lists are
    equal in order, objects as here. An optional argument that equals its schema's ``default``
    counts as absent, on both sides; any other argument beyond the right ones is extra.

    Args:
        gold: the right arguments.
        predicted: the arguments of the call.
        schema: the JSON Schema of the object; what it does not describe is compared by value alone.
    """
    if gold == predicted and _same_types(gold, predicted):
        return _EQUAL
    properties = _part(schema, "properties")
    required = schema.get("required", ()) if isinstance(schema, dict) else ()
    missing, extra, wrong = [], [], []
    for name in sorted(gold.keys() | predicted.keys()):
        of_name = properties.get(name)
        if name in gold and name in predicted:
            if not _equal(gold[name], predicted[name], of_name):
                wrong.append(name)
        elif name in gold:
            if name in required or not _is_default(gold[name], of_name):
                missing.append(name)
        elif name in required or not _is_default(predicted[name], of_name):
            extra.append(name)
    return ArgumentDifferences(tuple(missing), tuple(extra), tuple(wrong))


def _same_types(gold: dict[str, Any], predicted: dict[str, Any]) -> bool:
    """Whether equal objects hold texts or nothing only: True == 1 needs the slow comparison."""
    return all(type(value) is str for value in gold.values()) and all(
        type(value) is str for value in predicted.values()
    )


def _equal(gold: Any, predicted: Any, schema: Any) -> bool:
    if isinstance(gold, str):
        return isinstance(predicted, str) and (
            gold == predicted or _normalized(gold) == _normalized(predicted)
        )
    if isinstance(gold, bool) or isinstance(predicted, bool):
        return gold is predicted
    if isinstance(gold, dict):
        return isinstance(predicted, dict) and not compare_arguments(gold, predicted, schema)
    if isinstance(gold, list):
        return (
            isinstance(predicted, list)
            and len(gold) == len(predicted)
            and all(
                _equal(one, other, _part(schema, "items"))
                for one, other in zip(gold, predicted, strict=True)
            )
        )
    return bool(gold == predicted)  # numbers and null


def _is_default(value: Any, schema: Any) -> bool:
    return (
        isinstance(schema, dict)
        and "default" in schema
        and _equal(schema["default"], value, schema)
    )


def _part(schema: Any, key: str) -> dict[str, Any]:
    """A part of a schema that is an object; schemas may also be True, or leave it out."""
    part = schema.get(key) if isinstance(schema, dict) else None
    return part if isinstance(part, dict) else {}


def _normalized(text: str) -> str:
    # Case folding can undo the normal form, so it is made again.
    folded = unicodedata.normalize("NFC", text).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split())

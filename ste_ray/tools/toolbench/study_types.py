"""The types that publishers of RapidAPI endpoints and BMTools functions write, as JSON Schema."""

from __future__ import annotations

import json
import re
from typing import Any

_NAMES = {
    "string": (
        "string",
        "str",
        "text",
        "enum",
        "char",
        "url",
        "file",
        "binary",
        "time",
        "geopoint",
    ),
    "number": ("number", "float", "double", "decimal"),
    "integer": ("integer", "int", "long"),
    "boolean": ("boolean", "bool"),
    "array": ("array", "list", "tuple"),
    "object": ("object", "dict", "map", "json"),
}
_JSON_TYPES = {name: json_type for json_type, names in _NAMES.items() for name in names}
_ISO_DATE = re.compile(r"date\s*\(\s*yyyy-mm-dd\s*\)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d+")
_FLAGS = {"true": True, "false": False}
_WORD = re.compile(r"\w+")  # the first one of "TIME (24-hour HH:MM)" or "List[str]" is the type
_TELLING = ("file", "binary", "geopoint", "time")  # more than the JSON type they become


def typed_schema(written: str) -> tuple[dict[str, Any], str]:
    """Return the schema of a type as it was written, and what it said beyond that, for people.

    A type that is not known allows any value: a wrong guess would refuse right calls.
    """
    written = written.strip()
    if _ISO_DATE.fullmatch(written):
        return {"type": "string", "format": "date"}, ""
    word = _WORD.match(written)
    first = word[0].lower() if word else ""
    if first in ("date", "datetime"):
        return {"type": "string"}, f"({written})"
    json_type = "array" if written.endswith("[]") else _JSON_TYPES.get(first)
    if json_type is None:
        return {}, f"({written})" if written else ""
    plain = word is not None and word[0] == written
    note = "" if plain and first not in _TELLING else f"({written})"
    return {"type": json_type}, note


def default_value(json_type: str | None, written: Any) -> Any:
    """Return a published default as a value of ``json_type``; None where there is none that fits.

    Publishers write most defaults as text, ``"14"`` for a number; an empty text means none.
    """
    if written is None or written == "":
        return None
    if json_type in ("array", "object"):
        return _container(json_type, written)
    if isinstance(written, list | dict):
        return written if json_type is None else None
    text = str(written).lower() if isinstance(written, bool) else str(written)
    if json_type == "boolean":
        return _FLAGS.get(text.strip().lower())
    if json_type == "integer":
        return int(text) if _INTEGER.fullmatch(text.strip()) else None
    if json_type == "number":
        return _number(text.strip())
    return written if json_type is None else text


def _number(text: str) -> int | float | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) != float("inf") else None


def _container(json_type: str, written: Any) -> list[Any] | dict[str, Any] | None:
    if isinstance(written, str):
        try:
            written = json.loads(written)
        except (ValueError, RecursionError):
            return None
    fits = isinstance(written, list if json_type == "array" else dict)
    return written if fits else None

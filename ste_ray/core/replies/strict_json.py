"""Reading one JSON object out of model text, strictly.

Python's ``json`` accepts more than JSON (NaN, duplicate keys), and some texts make it raise errors
that are no ``JSONDecodeError`` (deep nesting, very long integers) or give values that cannot be
stored (lone surrogates, infinite floats). All of these are refused here with one type of error
whose message tells a model what to change.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from ste_ray.core.records import canonical_json

MAX_DEPTH = 64  # levels of nesting; deep enough for any real call, far below the recursion limit


class JSONTextError(ValueError):
    """The text is no JSON value that can be stored; the message says why and what to do."""


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        repeated = next(key for key, count in counts.items() if count > 1)
        raise JSONTextError(f"it has the key {clip(repeated)} more than once; give each key once")
    return value


def _refuse_constant(name: str) -> Any:
    raise JSONTextError(f"{name} is no JSON value; write a number, a string or null")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise JSONTextError(f"the number {clip(digits)} is too large")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite_float
)


def clip(text: str, max_chars: int = 80) -> str:
    """Return ``text`` quoted, on one line, its middle left out where it is too long."""
    if len(text) > max_chars:
        half = max_chars // 2
        text = f"{text[:half]} … {text[-half:]}"
    return repr(text)


def decode_value(text: str, start: int = 0) -> tuple[Any, str, int]:
    """Read the JSON value that begins at ``start``.

    Returns:
        The value, its canonical JSON, and the index of the first character after it.

    Raises:
        JSONTextError: the text is no JSON, has duplicate keys, numbers that JSON does not know or
            that are too long, lone surrogates, or is nested deeper than ``MAX_DEPTH``.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except JSONTextError:
        raise
    except json.JSONDecodeError as error:
        raise JSONTextError(_explain(error, text, start)) from None
    except RecursionError:
        raise JSONTextError(_too_deep()) from None
    except ValueError:  # the limit on the digits of an integer
        raise JSONTextError("it holds a number with too many digits") from None
    # Only a text with many brackets can be deep, so most values need no walk.
    if text.count("{", start, end) + text.count("[", start, end) > MAX_DEPTH:
        _check_depth(value)
    canonical = canonical_json(value)
    if canonical.isascii():
        return value, canonical, end
    try:
        canonical.encode()
    except UnicodeEncodeError:
        raise JSONTextError(
            "it holds half of a surrogate pair, which is no character; write the character itself"
        ) from None
    return value, canonical, end


def _explain(error: json.JSONDecodeError, text: str, start: int) -> str:
    if not text[error.pos :].strip():
        return "it ends before the object is closed; write the whole object"
    problem = error.msg[0].lower() + error.msg[1:].removesuffix(" at").rstrip(": ")
    near = clip(text[error.pos : error.pos + 30])
    return f"{problem} at character {error.pos - start + 1}, near {near}"


def _too_deep() -> str:
    return f"it is nested more than {MAX_DEPTH} levels deep; use a flatter object"


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    if any(isinstance(node, dict | list) for node in level):
        raise JSONTextError(_too_deep())


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []

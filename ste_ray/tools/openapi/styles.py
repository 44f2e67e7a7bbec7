"""Writes arguments as OpenAPI's styles want them in paths, queries, headers and cookies.

What an argument holds can never become more than a value of its parameter: in paths and cookies it
is percent-encoded, in queries the client does so, and headers refuse line breaks.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from ste_ray.tools.http.templates import ArgumentError, as_text, header_value
from ste_ray.tools.kinds import OpenApiParameter

_DELIMITERS = {"form": ",", "spaceDelimited": " ", "pipeDelimited": "|"}
_COOKIE_SAFE = "!#$&'()*+-./:<=>?@[]^_`{|}~"  # what a value may hold as it is


def path_text(parameter: OpenApiParameter, value: Any) -> str:
    """Return what stands in the path for ``{name}``, percent-encoded.

    Raises:
        ArgumentError: nothing would stand there, which would make it another path.
    """
    value = _as_json(parameter, value)
    parts = _parts(value, _quoted)
    if not parts or (len(parts) == 1 and parts[0] in ("", ("", ""))):
        raise ArgumentError(
            f"the argument {parameter.argument!r} is part of the path and must not be empty"
        )
    explode = bool(parameter.explode)
    if parameter.style == "matrix":
        return _matrix(_quoted(parameter.name), parts, explode)
    prefix, between = (".", ".") if parameter.style == "label" else ("", ",")
    return prefix + _joined(parts, between if explode else ",", explode)


def query_pairs(parameter: OpenApiParameter, value: Any) -> Iterator[tuple[str, str]]:
    """Yield what an argument adds to the query, not encoded; null and empty lists add nothing."""
    value = _as_json(parameter, value)
    name, style = parameter.name, parameter.style or "form"
    if style == "deepObject" and isinstance(value, Mapping):
        yield from _deep(name, value)
        return
    parts = _parts(value, str)
    explode = style in ("form", "deepObject") if parameter.explode is None else parameter.explode
    if not isinstance(value, list | Mapping) or explode:
        yield from ((name, part) if isinstance(part, str) else part for part in parts)
    elif parts:
        yield name, _joined(parts, _DELIMITERS.get(style, ","), False)


def header_text(parameter: OpenApiParameter, value: Any) -> str | None:
    """Return the value of a header; None: there is nothing to send.

    Raises:
        ArgumentError: it holds a line break.
    """
    value = _as_json(parameter, value)
    if value is None:
        return None
    text = _joined(_parts(value, str), ",", bool(parameter.explode))
    return header_value(parameter.name, text).strip()


def cookie_pairs(parameter: OpenApiParameter, value: Any) -> Iterator[str]:
    """Yield cookies, as ``name=value``."""
    value = _as_json(parameter, value)
    parts = _parts(value, _cookie_quoted)
    explode = parameter.explode is not False
    if isinstance(value, list | Mapping) and not explode:
        if parts:
            yield f"{parameter.name}={_joined(parts, ',', False)}"
        return
    for part in parts:
        name, text = (parameter.name, part) if isinstance(part, str) else part
        # The name is the caller's where an object is spread out.
        yield f"{name if isinstance(part, str) else re.sub('=', '%3D', name)}={text}"


def _as_json(parameter: OpenApiParameter, value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if parameter.as_json else value


def _parts(value: Any, write: Any) -> list[Any]:
    """Return the texts of a value: one, one for each item, or pairs of name and text."""
    if value is None:
        return []
    if isinstance(value, list):
        return [write(as_text(one)) for one in value if one is not None]
    if isinstance(value, Mapping):
        return [
            (write(name), write(as_text(one))) for name, one in value.items() if one is not None
        ]
    return [write(as_text(value))]


def _joined(parts: list[Any], between: str, explode: bool) -> str:
    inside = "=" if explode else ","
    return between.join(part if isinstance(part, str) else inside.join(part) for part in parts)


def _matrix(name: str, parts: list[Any], explode: bool) -> str:
    if not explode:
        return f";{name}={_joined(parts, ',', False)}"
    pairs = [(name, part) if isinstance(part, str) else part for part in parts]
    return "".join(f";{one}={text}" for one, text in pairs)


def _deep(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _deep(f"{name}[{key}]", one)
    elif isinstance(value, list):
        for one in value:
            yield from _deep(name, one)
    elif value is not None:
        yield name, as_text(value)


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="", errors="replace")


def _cookie_quoted(text: str) -> str:
    return urllib.parse.quote(text, safe=_COOKIE_SAFE, errors="replace")

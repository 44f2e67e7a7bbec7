"""Writes arguments as OpenAPI's styles want them in paths, queries, headers and cookies.

What an argument holds can never become more than a value of its parameter: in paths and cookies it
is percent-encoded, in queries the client does so, and headers refuse line breaks. A list can be
read back whatever its texts hold: what stands between them is written as it is, and the same
characters within them are percent-encoded. The exception are headers, where OpenAPI encodes
nothing, and readers that decode a query before they split it.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from ste_ray.core.executor_spec_parts import OpenApiParameter
from ste_ray.tools.http.templates import ArgumentError, as_text, header_value

_DELIMITERS = {"spaceDelimited": "%20", "pipeDelimited": "|"}
_COOKIE_SAFE = "!#$&'()*+-./:<=>?@[]^_`{|}~"  # what a value may hold as it is


def path_text(parameter: OpenApiParameter, value: Any) -> str:
    """Return what stands in the path for ``{name}``, percent-encoded.

    Raises:
        ArgumentError: nothing would stand there, which would make it another path.
    """
    value = _written_whole(parameter, value)
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
    """Yield what an argument adds to the query, not encoded; null and empty lists add nothing.

    Lists whose items stand in one text add nothing here: see ``query_text``.
    """
    value = _written_whole(parameter, value)
    name = parameter.name
    if parameter.style == "deepObject" and isinstance(value, list | Mapping):
        yield from _deep(name, value)
    elif not _in_one(parameter, value):
        for part in _parts(value, str):
            yield (name, part) if isinstance(part, str) else part


def query_text(parameter: OpenApiParameter, value: Any) -> str:
    """Return ``name=values`` for a list or object that stands in one text, percent-encoded.

    The delimiter ``|`` is no character of URLs, so it is encoded too, unless an item holds one.
    Between items stands ``%20`` for ``spaceDelimited``, and ``+`` within them.
    """
    value = _written_whole(parameter, value)
    parts = _parts(value, _query_quoted) if _in_one(parameter, value) else []
    if not parts:
        return ""
    delimiter = _DELIMITERS.get(parameter.style, ",")
    text = "".join(part if isinstance(part, str) else "".join(part) for part in parts)
    if delimiter == "|" and "%7C" not in text:
        delimiter = "%7C"
    return f"{_query_quoted(parameter.name)}={_flat(parts, delimiter)}"


def _in_one(parameter: OpenApiParameter, value: Any) -> bool:
    style = parameter.style or "form"
    explode = style in ("form", "deepObject") if parameter.explode is None else parameter.explode
    return isinstance(value, list | Mapping) and not explode and style != "deepObject"


def header_text(parameter: OpenApiParameter, value: Any) -> str | None:
    """Return the value of a header; None: there is nothing to send.

    Raises:
        ArgumentError: it holds a line break.
    """
    value = _written_whole(parameter, value)
    if value is None:
        return None
    text = _joined(_parts(value, str), ",", bool(parameter.explode))
    return header_value(parameter.name, text).strip()


def cookie_pairs(parameter: OpenApiParameter, value: Any) -> Iterator[str]:
    """Yield cookies, as ``name=value``."""
    value = _written_whole(parameter, value)
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


def _written_whole(parameter: OpenApiParameter, value: Any) -> Any:
    """Return the one text of a parameter that has a content type, or the value."""
    if parameter.as_json:
        return json.dumps(value, ensure_ascii=False)
    return as_text(value) if parameter.as_text and value is not None else value


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


def _flat(parts: list[Any], delimiter: str) -> str:
    return delimiter.join(part if isinstance(part, str) else delimiter.join(part) for part in parts)


def _joined(parts: list[Any], between: str, explode: bool) -> str:
    inside = "=" if explode else ","
    return between.join(part if isinstance(part, str) else inside.join(part) for part in parts)


def _matrix(name: str, parts: list[Any], explode: bool) -> str:
    if not explode:
        return f";{name}={_joined(parts, ',', False)}"
    pairs = [(name, part) if isinstance(part, str) else part for part in parts]
    return "".join(f";{one}={text}" for one, text in pairs)


def _deep(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield ``name[key]`` for each text within; items of lists are numbered.

    OpenAPI leaves lists open. Numbers keep a list of one item, and lists of objects, what they are
    for readers of brackets.
    """
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _deep(f"{name}[{key}]", one)
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from _deep(f"{name}[{place}]", one)
    elif value is not None:
        yield name, as_text(value)


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="", errors="replace")


def _query_quoted(text: str) -> str:
    return urllib.parse.quote_plus(text, errors="replace")


def _cookie_quoted(text: str) -> str:
    return urllib.parse.quote(text, safe=_COOKIE_SAFE, errors="replace")

"""Which headers tools may send, whatever kind of executor names them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ste_ray.core.executor_spec_parts import FORBIDDEN_HEADERS, Fields, OpenApiParameter

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUES = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def refused_headers(names: Iterable[str]) -> list[str]:
    """Return those of ``names`` that no tool may set."""
    return [name for name in names if name.lower() in FORBIDDEN_HEADERS]


def is_header_name(name: str) -> bool:
    """Whether ``name`` can be sent as the name of a header."""
    return _NAME.fullmatch(name) is not None


def breaks_header(text: str) -> bool:
    """Whether ``text``, as the value of a header, would end it."""
    return _NOT_IN_VALUES.search(text) is not None


def header_problem(fields: Fields, path: str) -> str:
    """Say which header cannot be or may not be sent, with the remedy, in one line; empty: none.

    All mappings named ``headers`` are looked at, however deep within ``fields``, and so are
    arguments that are sent as headers: a new kind of executor needs no check of its own.

    Args:
        fields: an executor, or a part of one.
        path: where they stand in the file, such as ``executor``.
    """
    for place, name, value in _headers(fields, path):
        if not is_header_name(name):
            return f"{place}: {name!r} is no name of a header; write letters, digits and -"
        if refused_headers([name]):
            return f"{place} must not hold {name!r}, which the request sets itself; remove it"
        if breaks_header(value):
            return f"{place}.{name} must have no line breaks; write one line"
    return ""


def _headers(value: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """Yield where each header is set, its name, and its value or a template of it."""
    if isinstance(value, OpenApiParameter) and value.place == "header":
        yield f"{path}.name", value.name, ""
    if isinstance(value, Fields):
        for name, field in value:
            if name == "headers" and isinstance(field, Mapping):
                yield from ((f"{path}.headers", str(key), str(field[key])) for key in field)
            else:
                yield from _headers(field, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            yield from _headers(one, f"{path}[{index}]")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _headers(one, f"{path}.{key}")

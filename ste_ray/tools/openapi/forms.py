"""Writes forms as bodies, each field as OpenAPI's ``encoding`` wants it."""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from ste_ray.core.executor_spec_parts import OpenApiField, OpenApiParameter
from ste_ray.tools.http.templates import ArgumentError, as_text
from ste_ray.tools.openapi.bodies import MULTIPART, is_json
from ste_ray.tools.openapi.styles import query_pairs, query_text

_PLAIN = OpenApiField()


def form_body(value: Any, encoding: Mapping[str, OpenApiField]) -> bytes:
    """Return a form as a query is written: by style, or else lists repeated and objects as JSON.

    Raises:
        ArgumentError: the value is no object.
    """
    texts = [
        text
        for name, one in _fields(value)
        for text in _written(name, one, encoding.get(name, _PLAIN))
    ]
    return "&".join(texts).encode()


def multipart_body(value: Any, encoding: Mapping[str, OpenApiField]) -> tuple[str, bytes]:
    """Return content type and body of a form of parts; lists are one part an item.

    Raises:
        ArgumentError: the value is no object.
    """
    parts = []
    for name, one in _fields(value):
        content_type = encoding.get(name, _PLAIN).content_type
        whole = is_json(_bare(content_type)) and isinstance(one, list)
        for item in one if isinstance(one, list) and not whole else [one]:
            if item is not None:
                parts.append(_part(name, item, content_type))
    # Made of the content, the boundary cannot stand in it, and equal calls stay equal.
    boundary = hashlib.sha256(b"".join(parts)).hexdigest()
    mark = f"--{boundary}".encode()
    data = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"
    return f"{MULTIPART}; boundary={boundary}", data


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise ArgumentError("the body of a form must be an object")
    yield from value.items()


def _written(name: str, value: Any, field: OpenApiField) -> Iterator[str]:
    styled = bool(field.style) or field.explode is not None
    parameter = OpenApiParameter(
        argument=name,
        name=name,
        place="query",
        style=field.style,
        explode=field.explode,
        as_json=not styled and is_json(_bare(field.content_type)),
        as_text=not styled and (bool(field.content_type) or isinstance(value, Mapping)),
    )
    pairs = list(query_pairs(parameter, value))
    if pairs:
        yield urllib.parse.urlencode(pairs, errors="replace")
    if text := query_text(parameter, value):
        yield text


def _part(name: str, value: Any, content_type: str) -> bytes:
    quoted = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = f'Content-Disposition: form-data; name="{quoted}"'
    if not content_type and isinstance(value, Mapping | list):
        content_type = "application/json"
    if content_type:
        head += f"\r\nContent-Type: {content_type}"
    text = json.dumps(value, ensure_ascii=False) if is_json(_bare(content_type)) else as_text(value)
    return f"{head}\r\n\r\n".encode() + text.encode("utf-8", errors="replace")


def _bare(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()

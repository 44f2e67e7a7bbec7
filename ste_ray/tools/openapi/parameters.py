"""Turns the parameters of an operation into arguments of a tool, and remembers where they go."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from openapi_pydantic.v3 import v3_1
from pydantic import ValidationError

from ste_ray.core.executor_spec_parts import FORBIDDEN_HEADERS, OpenApiParameter
from ste_ray.tools.http.headers import is_header_name
from ste_ray.tools.openapi.auth import Credentials
from ste_ray.tools.openapi.document import Part, UnusableError, first_problem
from ste_ray.tools.openapi.schemas import SchemaConverter
from ste_ray.tools.openapi.texts import shortened, unique

_DESCRIPTION_CHARS = 500
QUERY_STYLES = ("form", "spaceDelimited", "pipeDelimited", "deepObject")
_STYLES = {
    "path": ("simple", "label", "matrix"),
    "query": QUERY_STYLES,
    "header": ("simple",),
    "cookie": ("form",),
}
# Given by the request itself, or of a kind that decides whom it reaches or where it ends.
_IGNORED_HEADERS = ("accept", "content-type", "authorization", "cookie", *FORBIDDEN_HEADERS)
_SCHEMA_FIELDS = ("schema", "content", "example", "examples")


class Arguments:
    """Collects the arguments of one tool under names that differ."""

    def __init__(self) -> None:
        self._properties: dict[str, Any] = {}
        self._required: list[str] = []

    def add(self, name: str, place: str, schema: dict[str, Any], required: bool) -> str:
        """Add an argument; return its name, which tells the place where ``name`` is taken."""
        wanted = name if name not in self._properties else f"{name}_{place}"
        argument = unique(wanted, self._properties)
        self._properties[argument] = schema
        if required:
            self._required.append(argument)
        return argument

    def schema(self) -> dict[str, Any]:
        """Return the schema of all of them, references not yet completed."""
        schema: dict[str, Any] = {"type": "object", "properties": self._properties}
        if self._required:
            schema["required"] = self._required
        return schema


class ParameterReader:
    """Reads the parameters of operations.

    Args:
        converter: of the schemas in requests.
    """

    def __init__(self, converter: SchemaConverter) -> None:
        self._converter = converter

    def read(
        self, path: str, listed: Sequence[Part], given: Credentials, arguments: Arguments
    ) -> list[OpenApiParameter]:
        """Add the parameters of an operation to its arguments.

        Args:
            path: with ``{name}`` for each path parameter, described or not.
            listed: first those of the path, then those of the operation, which override them.
            given: parameters that secrets stand for are no arguments.
            arguments: gets one for each.

        Raises:
            UnusableError: a parameter cannot be understood or sent.
        """
        in_path = dict.fromkeys(re.findall(r"\{([^{}]+)\}", path))
        found: dict[tuple[str, str], tuple[v3_1.Parameter, Part]] = {}
        for part in listed:
            parameter, resolved = _parsed(part)
            found[parameter.name, parameter.param_in.value] = (parameter, resolved)
        result = []
        for (name, place), (parameter, part) in found.items():
            ignored = place == "header" and name.lower() in _IGNORED_HEADERS
            if ignored or given.holds(place, name) or (place == "path" and name not in in_path):
                continue
            result.append(self._add(parameter, part, arguments))
        for name in in_path:
            if (name, "path") not in found:
                argument = arguments.add(name, "path", {"type": "string"}, True)
                result.append(OpenApiParameter(argument=argument, name=name, place="path"))
        return result

    def _add(self, parameter: v3_1.Parameter, part: Part, arguments: Arguments) -> OpenApiParameter:
        name, place = parameter.name, parameter.param_in.value
        _check(parameter)
        raw, form = _schema(part)
        schema = self._converter.inlined(part.sibling(raw))
        text = shortened(parameter.description or schema.get("description", ""), _DESCRIPTION_CHARS)
        if parameter.deprecated and not text.startswith("(deprecated)"):
            text = f"(deprecated) {text}".rstrip()
        if text:
            schema = {**schema, "description": text}
            schema.pop("title", None)
        required = parameter.required or place == "path"
        return OpenApiParameter.model_validate(
            {
                "argument": arguments.add(name, place, schema, required),
                "name": name,
                "place": place,
                "style": parameter.style or "",
                "explode": parameter.explode,
                "as_json": form == "json",
                "as_text": form == "text",
            }
        )


def _parsed(part: Part) -> tuple[v3_1.Parameter, Part]:
    part = part.resolved()
    if not isinstance(part.value, Mapping):
        raise UnusableError(f"a parameter is {part.value!r:.80}, not an object")
    fields = {key: value for key, value in part.value.items() if key not in _SCHEMA_FIELDS}
    try:
        return v3_1.Parameter.model_validate(fields), part
    except ValidationError as error:
        raise UnusableError(
            f"the parameter {fields.get('name')!r}: {first_problem(error)}"
        ) from None


def _check(parameter: v3_1.Parameter) -> None:
    name, place = parameter.name, parameter.param_in.value
    if place in ("header", "cookie") and not is_header_name(name):
        raise UnusableError(f"the {place} parameter {name!r} has a name that cannot be sent")
    if parameter.style and parameter.style not in _STYLES[place]:
        allowed = ", ".join(_STYLES[place])
        raise UnusableError(
            f"the {place} parameter {name!r} has style={parameter.style!r}; known there: {allowed}"
        )


def _schema(part: Part) -> tuple[Any, Literal["style", "json", "text"]]:
    """Return the schema of a parameter, and how its value is written."""
    content = part.value.get("content")
    if isinstance(content, Mapping) and content:
        kind, media = next(iter(content.items()))
        schema = media.get("schema", {}) if isinstance(media, Mapping) else {}
        return schema, "json" if "json" in kind else "text"
    schema = part.value.get("schema", {"type": "string"})
    without = isinstance(schema, Mapping) and not {"example", "$ref"} & schema.keys()
    if without and "example" in part.value:
        return {**schema, "example": part.value["example"]}, "style"
    return schema, "style"

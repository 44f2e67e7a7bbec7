"""What publishers write of an endpoint, as the fields of a specification.

Parameters come as lists of ``{name, type, description, default}``. The types are the publishers'
own and say little; a default that does not fit its type is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ste_ray.tools.toolbench.study_types import default_value, typed_schema

SEPARATOR = "%%"  # between the names of a tool and of its endpoint
_LISTS = ("required_parameters", "optional_parameters")


def endpoint_description(own: str, api_name: str, tool_name: str, parent: str) -> str:
    """Return what a model reads of an endpoint: its own description, then that of its tool."""
    own = own or f"The endpoint {api_name.strip()!r} of {tool_name.strip()}."
    return f"{own}\nPart of {tool_name.strip()}: {parent}" if parent else own


def listed_parameters(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of the lists of parameters; of one listed twice, the first counts.

    Raises:
        ValueError: a list is none, or a parameter has no name.
    """
    properties: dict[str, Any] = {}
    required: list[str] = []
    for key in _LISTS:
        listed = fields.get(key) or []
        if not isinstance(listed, list):
            raise ValueError(f"{key}={listed!r} is no list")
        for parameter in listed:
            if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str):
                raise ValueError(f"{key} holds {parameter!r}, which has no name")
            if parameter["name"] in properties:
                continue
            properties[parameter["name"]] = _property(parameter)
            if key == "required_parameters":
                required.append(parameter["name"])
    return object_schema(properties, required)


def _property(parameter: Mapping[str, Any]) -> dict[str, Any]:
    schema, note = typed_schema(str(parameter.get("type") or ""))
    description = f"{text_field(parameter, 'description')} {note}".strip()
    if description:
        schema["description"] = description
    default = default_value(schema.get("type"), parameter.get("default"))
    if default is not None:
        schema["default"] = default
    return schema


def object_schema(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """Return the JSON Schema of an object with ``properties``."""
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return schema


def text_field(fields: Mapping[str, Any], key: str) -> str:
    """Return a field that is a text, without the white space around it; else an empty text."""
    value = fields.get(key)
    return value.strip() if isinstance(value, str) else ""

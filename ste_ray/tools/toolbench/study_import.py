"""Imports the tool descriptions that the study published: name -> text, in one JSON file.

Two kinds are in it. Descriptions of RapidAPI endpoints (``Tool%%Endpoint``) are JSON texts with
lists of parameters; those of BMTools functions are prose with the arguments inside, such as
``(args json schema): {{"location" : string, "days" : integer, }}``. The types are the publishers'
own and say little; a default that does not fit its type is left out. Nothing is called: what the
tools do when they are called is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from ste_ray.core.executor_specs import BmtoolsFunction, ToolbenchEndpoint
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.checks.schemas import check_parameters
from ste_ray.tools.run.secrets import executor_secrets
from ste_ray.tools.toolbench.published import (
    SEPARATOR,
    endpoint_description,
    listed_parameters,
    object_schema,
    text_field,
)
from ste_ray.tools.toolbench.study_types import typed_schema

DESCRIPTIONS_FILE = "API_descriptions.json"
_CATEGORIES_FILE = "tool2cate.json"
_FUNCTIONS_FILE = "API_dict_bmtools.json"
_SCHEMA_INTRODUCTION = re.compile(r"\(args json schema\)\s*:\s*", re.IGNORECASE)
_INSTRUCTIONS = re.compile(
    r"\s*(Your input should be a json|The Action to trigger this API should be)", re.IGNORECASE
)
_EXPORTED = re.compile(r"(?P<description>.*)\nParameters: (?P<parameters>\{.*\})", re.DOTALL)
_PROSE_ARGUMENT = re.compile(r"[\"']([^\"']+)[\"']\s*:\s*([^,{}]*)")


def import_descriptions(
    path: str | Path, skipped: list[tuple[str, str]] | None = None
) -> list[ToolSpec]:
    """Read the study's descriptions.

    Args:
        path: The file of descriptions, or the folder it is in; from a folder, the categories of
            RapidAPI tools and the families of BMTools functions are read too, where they are there.
        skipped: gets name and reason of each description that cannot be used, which is otherwise
            an error.

    Returns:
        The specifications in the order of the file, names exactly as published.

    Raises:
        ToolSpecError: The file is missing or no JSON, or a description is of neither kind.
    """
    place = Path(path)
    folder = place if place.is_dir() else None
    file = place if folder is None else place / DESCRIPTIONS_FILE
    descriptions = _read_object(file)
    categories = _read_optional(folder, _CATEGORIES_FILE)
    functions = _read_optional(folder, _FUNCTIONS_FILE)
    specs = []
    for name, text in descriptions.items():
        try:
            specs.append(described_tool(name, text, categories, functions.get(name)))
        except ToolSpecError as error:
            if skipped is None:
                raise ToolSpecError(f"{str(file)!r}: {error}") from None
            skipped.append((name, str(error)))
    if not specs and skipped:
        raise ToolSpecError(f"{str(file)!r}: nothing in it can be used; {skipped[0][1]}")
    return specs


def described_tool(
    name: str,
    text: Any,
    categories: Mapping[str, Any] = MappingProxyType({}),
    published: Any = None,
) -> ToolSpec:
    """Return the specification of one tool.

    Args:
        name: exactly as published.
        text: its description, of either kind.
        categories: of RapidAPI tools, by the name of the tool.
        published: what the file of BMTools functions says of it.

    Raises:
        ToolSpecError: the description is of neither kind.
    """
    try:
        if not isinstance(text, str):
            raise ValueError(f"{text!r} is no text")
        if text.lstrip().startswith("{"):
            spec = _endpoint(name, text, categories)
        else:
            spec = _function(name, text, published)
        check_parameters(spec.parameters)
    except (ValidationError, ValueError, RecursionError) as error:
        detail = " ".join(str(error).split())
        raise ToolSpecError(
            f"description of {name!r}: {detail}; correct it or remove the entry"
        ) from None
    return spec


def exported_tool(name: str, text: str) -> ToolSpec | None:
    """Return the tool of a description that ste-ray wrote in the study's form; None: it did not."""
    own = _EXPORTED.fullmatch(text)
    if own is None:
        return None
    try:
        parameters = _load_object(own["parameters"])
        check_parameters(parameters)
    except ValueError:
        return None
    return ToolSpec(
        name=name,
        description=own["description"].strip() or f"The function {name}.",
        parameters=parameters,
        executor=BmtoolsFunction(function=name),
    )


def _endpoint(name: str, text: str, categories: Mapping[str, Any]) -> ToolSpec:
    """Return the specification of a RapidAPI endpoint."""
    fields = _load_object(text)
    tool_name, separator, api_name = name.partition(SEPARATOR)
    if not separator:
        tool_name, api_name = text_field(fields, "parent_tool_name"), name
    if not tool_name or not api_name:
        raise ValueError(f"its name is not of the form 'Tool{SEPARATOR}Endpoint'")
    category = categories.get(tool_name)
    executor = ToolbenchEndpoint(tool_name=tool_name, api_name=api_name)
    if isinstance(category, str):
        executor = ToolbenchEndpoint(tool_name=tool_name, api_name=api_name, category=category)
    own, parent = text_field(fields, "description"), text_field(fields, "parent_tool_description")
    return ToolSpec(
        name=name,
        description=endpoint_description(own, api_name, tool_name, parent),
        parameters=listed_parameters(fields),
        executor=executor,
        secrets=executor_secrets(executor),
        family=tool_name,
    )


def _function(name: str, text: str, published: Any) -> ToolSpec:
    """Return the specification of a BMTools function; all the arguments it names are required."""
    properties = {}
    introduction = _SCHEMA_INTRODUCTION.search(text)
    if introduction:
        listed = _braced(text, introduction.end())
        for match in _PROSE_ARGUMENT.finditer(listed):
            schema, note = typed_schema(match[2].strip())
            properties[match[1].strip()] = schema | ({"description": note} if note else {})
    instructions = _INSTRUCTIONS.search(text)
    own = text[: instructions.start()] if instructions else text
    family = published.get("parent_tool_name") if isinstance(published, dict) else None
    return ToolSpec(
        name=name,
        description=_undoubled(own) or f"The function {name}.",
        parameters=object_schema(properties, list(properties)),
        executor=BmtoolsFunction(function=name),
        family=family if isinstance(family, str) else "",
    )


def _undoubled(text: str) -> str:
    """Return prose without its traces of templates: doubled braces and full stops."""
    text = text.strip().replace("{{", "{").replace("}}", "}")
    return f"{text[:-2]}." if text.endswith("..") and not text.endswith("...") else text


def _braced(text: str, start: int) -> str:
    """Return the text from the brace at ``start`` to the one that closes it."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == "{") - (text[index] == "}")
        if depth == 0:
            if index == start:
                break
            return text[start : index + 1]
    raise ValueError(f"the argument schema {text[start : start + 60]!r} has no matching braces")


def _load_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"{text[:60]!r} is no JSON object")
    return value


def _read_object(file: Path) -> dict[str, Any]:
    try:
        return _load_object(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        detail = " ".join(str(error).split())
        raise ToolSpecError(
            f"cannot read {str(file)!r}: {detail}; give the study's {DESCRIPTIONS_FILE} or its "
            "folder"
        ) from None


def _read_optional(folder: Path | None, name: str) -> dict[str, Any]:
    if folder is None or not (folder / name).is_file():
        return {}
    return _read_object(folder / name)

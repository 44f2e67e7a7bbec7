"""Imports the endpoints that ToolBench describes: its tool files, or the published study's file.

A tool file describes one tool of RapidAPI and its endpoints (``api_list``); its folder is the
category. Nothing is called. What an endpoint does when it is called is told from its HTTP method,
where there is one; a person should still look at the effects before tools are explored.

Source of the form: the ``toolenv/tools`` folder of the public ToolBench data.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ste_ray.core.executor_specs import RapidApiEndpoint, ToolbenchEndpoint
from ste_ray.core.tool_specs import Effect, ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.checks.schemas import check_parameters
from ste_ray.tools.http.templates import placeholders
from ste_ray.tools.run.secrets import executor_secrets
from ste_ray.tools.run.simulation import as_simulated
from ste_ray.tools.spec.names import FORBIDDEN
from ste_ray.tools.toolbench.published import (
    SEPARATOR,
    endpoint_description,
    listed_parameters,
    text_field,
)
from ste_ray.tools.toolbench.study_import import DESCRIPTIONS_FILE, import_descriptions

ImportKind = Literal["toolbench", "rapidapi", "simulated"]

_ENDPOINTS = "api_list"
_EFFECTS: Mapping[str, Effect] = {
    "GET": "read_only",
    "HEAD": "read_only",
    "OPTIONS": "read_only",
    "POST": "writes",
    "PUT": "writes",
    "PATCH": "writes",
    "DELETE": "destructive",
}


def import_toolbench(
    path: str | Path,
    as_kind: ImportKind = "toolbench",
    skipped: list[tuple[str, str]] | None = None,
) -> list[ToolSpec]:
    """Read descriptions of endpoints.

    Args:
        path: the study's file of descriptions or its folder; a tool file; a folder of tool files,
            or of folders of them, one for each category.
        as_kind: how the tools shall be called: behind a ToolBench server, at RapidAPI, or not at
            all, because a model plays them.
        skipped: gets name and reason of each file and endpoint that cannot be used, which is
            otherwise an error.

    Returns:
        The specifications, named ``Tool%%Endpoint``: in the order of the file, or of the names of
        categories, files and then of the file. Of endpoints of one name in a file, the first
        counts; where tools of several files share a name, all but the first bear their category.

    Raises:
        ToolSpecError: naming the file, what is wrong with it, and the remedy.
    """
    place = Path(path)
    if (place / DESCRIPTIONS_FILE).is_file() or _is_of_the_study(place):
        return _of_the_study(place, as_kind, skipped)
    files = _tool_files(place)
    specs: dict[str, ToolSpec] = {}
    for file in files:
        for spec in _read_file(file, as_kind, skipped):
            named = spec if spec.name not in specs else _with_category(spec, file)
            if named.name in specs:
                reason = f"another file of the category defines {spec.name!r} too"
                _refuse(f"{str(file)!r}: {reason}; remove one of them", spec.name, reason, skipped)
                continue
            specs[named.name] = named
    if not specs and skipped:
        name, reason = skipped[0]
        raise ToolSpecError(f"{str(place)!r}: nothing in it can be used; {name}: {reason}")
    if not specs:
        raise ToolSpecError(f"{str(place)!r}: there are no endpoints in it; give other tool files")
    return list(specs.values())


def _is_of_the_study(place: Path) -> bool:
    """Whether a file maps names to descriptions; what cannot be read is no such file."""
    if place.name == DESCRIPTIONS_FILE:
        return True
    if not place.is_file():
        return False
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(text, str) for text in content.values())
    )


def _refuse(message: str, name: str, reason: str, skipped: list[tuple[str, str]] | None) -> None:
    """Take note of what cannot be used; where nobody collects that, it is an error."""
    if skipped is None:
        raise ToolSpecError(message)
    skipped.append((name, reason))


def _of_the_study(
    place: Path, as_kind: ImportKind, skipped: list[tuple[str, str]] | None
) -> list[ToolSpec]:
    if as_kind == "rapidapi":
        raise ToolSpecError(
            f"{str(place)!r}: the study's descriptions do not say where endpoints are at RapidAPI; "
            "import them as 'toolbench' or 'simulated', or give ToolBench's tool files"
        )
    specs = import_descriptions(place, skipped)
    return specs if as_kind == "toolbench" else [as_simulated(spec) for spec in specs]


def _with_category(spec: ToolSpec, file: Path) -> ToolSpec:
    tool, separator, endpoint = spec.name.partition(SEPARATOR)
    return spec.changed(name=f"{tool} ({_category(file)}){separator}{endpoint}")


def _category(file: Path) -> str:
    return file.absolute().parent.name


def _tool_files(place: Path) -> list[Path]:
    """Return the tool files at ``place``, sorted by folder and name."""
    if place.is_file():
        return [place]
    # Archives made on other systems bring hidden files along.
    found = sorted(
        (file.parent.name, file.name, file)
        for pattern in ("*.json", "*/*.json")
        for file in place.glob(pattern)
        if not file.name.startswith(".") and not file.parent.name.startswith(".")
    )
    if not found:
        raise ToolSpecError(
            f"there are no tool files at {str(place)!r}; give ToolBench's folder 'tools', one of "
            f"its folders or files, or the study's {DESCRIPTIONS_FILE}"
        )
    return [file for _, _, file in found]


def _read_file(
    file: Path, as_kind: ImportKind, skipped: list[tuple[str, str]] | None
) -> list[ToolSpec]:
    """Return the endpoints of one tool, each name once."""
    specs: dict[str, ToolSpec] = {}
    remedy = "correct the file or remove it"
    try:
        tool = _load(file)
    except (OSError, ValueError, RecursionError) as error:
        detail = " ".join(str(error).split())
        _refuse(f"{str(file)!r}: {detail}; {remedy}", str(file), detail, skipped)
        return []
    for endpoint in tool[_ENDPOINTS]:
        name = ""
        try:
            name = _endpoint_name(endpoint)
            spec = _spec(tool, endpoint, _category(file), as_kind)
            check_parameters(spec.parameters)
            specs.setdefault(spec.name, spec)
        except (ValueError, RecursionError) as error:
            detail = " ".join(str(error).split())
            where = f"endpoint {name!r}: " if name else ""
            label = f"{tool['tool_name']}{SEPARATOR}{name}" if name else str(file)
            _refuse(f"{str(file)!r}: {where}{detail}; {remedy}", label, detail, skipped)
    return list(specs.values())


def _load(file: Path) -> dict[str, Any]:
    tool = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(tool, dict) or not isinstance(tool.get(_ENDPOINTS), list):
        raise ValueError(f"it is no tool file, an object with a list {_ENDPOINTS!r}")
    if not text_field(tool, "tool_name"):
        raise ValueError(f"tool_name={tool.get('tool_name')!r} is no name")
    return tool


def _endpoint_name(endpoint: Any) -> str:
    if not isinstance(endpoint, dict):
        raise ValueError(f"{_ENDPOINTS} holds {endpoint!r}, which is no object")
    name = endpoint.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{_ENDPOINTS} holds an endpoint whose name is {name!r}")
    return name


def _spec(
    tool: Mapping[str, Any], endpoint: Mapping[str, Any], category: str, as_kind: ImportKind
) -> ToolSpec:
    tool_name, api_name = tool["tool_name"], endpoint["name"]
    parameters = listed_parameters(endpoint)
    method = text_field(endpoint, "method").upper()
    executor: RapidApiEndpoint | ToolbenchEndpoint
    if as_kind == "rapidapi":
        executor = _rapidapi(tool, endpoint, method)
        _require(parameters, sorted(placeholders(executor.path)))
    else:
        executor = ToolbenchEndpoint(tool_name=tool_name, api_name=api_name, category=category)
    own, parent = text_field(endpoint, "description"), text_field(tool, "tool_description")
    spec = ToolSpec(
        name=re.sub(f"{FORBIDDEN}+", " ", f"{tool_name}{SEPARATOR}{api_name}"),
        description=endpoint_description(own, api_name, tool_name, parent),
        parameters=parameters,
        executor=executor,
        secrets=executor_secrets(executor),
        family=tool_name,
        effect=_EFFECTS.get(method, "unknown"),
    )
    return as_simulated(spec) if as_kind == "simulated" else spec


def _rapidapi(
    tool: Mapping[str, Any], endpoint: Mapping[str, Any], method: str
) -> RapidApiEndpoint:
    """Return where an endpoint is; the tool's host is the one its users subscribe to."""
    if method not in _EFFECTS:
        raise ValueError(f"method={endpoint.get('method')!r} is none of {', '.join(_EFFECTS)}")
    url = urllib.parse.urlsplit(text_field(endpoint, "url"))
    host = text_field(tool, "host") or url.netloc
    if not host:
        raise ValueError(
            f"neither host={tool.get('host')!r} nor url={endpoint.get('url')!r} says where it is"
        )
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return RapidApiEndpoint.model_validate({"host": host, "path": path, "method": method})


def _require(parameters: dict[str, Any], names: list[str]) -> None:
    """Make parameters of a path required: there is no address without them."""
    required = dict.fromkeys(parameters.get("required", ()))
    for name in names:
        parameters["properties"].setdefault(
            name, {"type": "string", "description": "a part of the path"}
        )
        required[name] = None
    if required:
        parameters["required"] = list(required)

"""Reads tool specifications from YAML or JSON files and refuses wrong ones with one clear line.

A file holds ``tools:``, a list of tools with the fields of ``ToolSpec``, and optionally
``defaults:`` with fields that hold for each of them. What a single tool must fulfil is checked in
``spec_checks``. Whether a target can really be imported is only known to a worker process: see
``Toolbox.verify``.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.spec_checks import build_spec
from ste_ray.yaml_loader import load_yaml

SUFFIXES = (".yaml", ".yml", ".json")
_FILE_FIELDS = ("tools", "defaults")
_DEFAULT_FIELDS = ("family", "effect", "lenient", "timeout_seconds", "max_output_chars")


def load_tool_specs(
    files: Sequence[str], include: Sequence[str] = (), *, shipped: Path
) -> dict[str, ToolSpec]:
    """Read tool specifications.

    Args:
        files: Files, folders of files, or names of shipped sets (folders under ``shipped``).
        include: Names of the tools to keep; empty keeps all.
        shipped: The folder of the shipped sets.

    Returns:
        The specifications by name, sorted.

    Raises:
        ToolSpecError: A file is missing or no YAML, a field is wrong, or a name is unknown.
    """
    specs: dict[str, ToolSpec] = {}
    origins: dict[str, Path] = {}
    for path in _spec_files(files, shipped):
        for spec in _read_file(path):
            if spec.name in origins:
                raise ToolSpecError(
                    f"tool {spec.name!r} is defined twice, in {str(origins[spec.name])!r} and in "
                    f"{str(path)!r}; rename one of them or give only one of the files"
                )
            specs[spec.name] = spec
            origins[spec.name] = path
    return {name: specs[name] for name in sorted(_selected(include, specs))}


def _spec_files(files: Sequence[str], shipped: Path) -> list[Path]:
    if not files:
        raise ToolSpecError(
            "no tool files were given; set tools.files to files, folders or shipped sets"
        )
    paths: dict[Path, Path] = {}
    for entry in files:
        for path in _resolve_entry(entry, shipped):
            paths.setdefault(path.resolve(), path)  # a file that is named twice is read once
    return list(paths.values())


def _resolve_entry(entry: str, shipped: Path) -> list[Path]:
    shipped_sets = sorted(path.name for path in shipped.iterdir() if path.is_dir())
    path = shipped / entry if entry in shipped_sets else Path(entry)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ToolSpecError(
            f"no tool file {entry!r}; give an existing file ({', '.join(SUFFIXES)}), a folder of "
            f"such files, or a shipped set: {', '.join(shipped_sets) or 'there are none'}"
        )
    found = sorted(child for child in path.iterdir() if child.suffix in SUFFIXES)
    if not found:
        raise ToolSpecError(
            f"the folder {entry!r} holds no tool files; put {', '.join(SUFFIXES)} files into it"
        )
    return found


def _read_file(path: Path) -> list[ToolSpec]:
    content = _parse(path)
    _refuse_unknown(path, "", content, _FILE_FIELDS)
    tools = content.get("tools")
    if not isinstance(tools, list) or not tools:
        raise ToolSpecError(f"{str(path)!r}: tools={tools!r}: write a list with at least one tool")
    defaults = content.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise ToolSpecError(f"{str(path)!r}: defaults={defaults!r}: write a mapping of fields")
    _refuse_unknown(path, "defaults.", defaults, _DEFAULT_FIELDS)
    return [
        build_spec(str(path), f"tools[{index}]", defaults, fields)
        for index, fields in enumerate(tools)
    ]


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ToolSpecError(f"cannot read tool file {str(path)!r}: {error}; give UTF-8") from None
    kind = "JSON" if path.suffix == ".json" else "YAML"
    try:
        # _Loader is a SafeLoader: it builds plain values only.
        content = json.loads(text) if kind == "JSON" else load_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        detail = " ".join(str(error).split())
        raise ToolSpecError(f"{str(path)!r} is no valid {kind}: {detail}; correct it") from None
    if not isinstance(content, dict):
        raise ToolSpecError(f"{str(path)!r} must hold a mapping with the key 'tools', a list")
    return content


def _refuse_unknown(
    path: Path, prefix: str, fields: dict[Any, Any], allowed: Sequence[str]
) -> None:
    for key in fields:
        if key not in allowed:
            raise ToolSpecError(
                f"{str(path)!r}: unknown field {prefix + str(key)!r}{_did_you_mean(key, allowed)}; "
                f"allowed here: {', '.join(allowed)}"
            )


def _selected(include: Sequence[str], known: Iterable[str]) -> Iterable[str]:
    names = dict.fromkeys(known)
    for name in include:
        if name not in names:
            raise ToolSpecError(
                f"tools.include names {name!r}, which no tool file defines"
                f"{_did_you_mean(name, list(names))}; remove it or choose among: "
                f"{', '.join(sorted(names))}"
            )
    return include or names


def _did_you_mean(given: object, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(given), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""

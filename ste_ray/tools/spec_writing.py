"""Writes tool specifications as a tool file, in the form that ``load_tool_specs`` reads."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.spec import SUFFIXES

# libyaml's writer, where PyYAML was built with it, writes the same three times as fast.
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def write_tool_specs(specs: Sequence[ToolSpec], path: str | Path) -> None:
    """Write ``specs`` to a YAML or JSON file, in their order; an existing file is replaced.

    Fields that have their default value are left out, but for the effect, which a person must
    judge before the tool may be explored. The file appears whole or not at all.

    Raises:
        ToolSpecError: there are no specifications, the suffix is unknown, or the file cannot be
            written.
    """
    file = Path(path)
    if file.suffix not in SUFFIXES:
        raise ToolSpecError(
            f"a tool file cannot be called {str(file)!r}; end its name in {', '.join(SUFFIXES)}"
        )
    if not specs:
        raise ToolSpecError(f"there are no tools to write to {str(file)!r}; choose another source")
    content = {"tools": [_fields(spec) for spec in specs]}
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(_encode(content, file.suffix), encoding="utf-8")
        temporary.replace(file)
    except (OSError, UnicodeEncodeError) as error:
        temporary.unlink(missing_ok=True)
        raise ToolSpecError(
            f"cannot write tool file {str(file)!r}: {error}; give a file in an existing folder"
        ) from None


def _fields(spec: ToolSpec) -> dict[str, Any]:
    fields = spec.model_dump(mode="json", exclude_defaults=True)
    return fields | {"effect": spec.effect}


def _encode(content: dict[str, Any], suffix: str) -> str:
    if suffix == ".json":
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text

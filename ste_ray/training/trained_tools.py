"""Writes into a model's folder which tools it was trained on, with their schemas.

Whoever serves the folder knows by it when a client offers a tool that has changed since.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ste_ray.core import layout
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.trained_tools import TOOLS_FILE, described
from ste_ray.ports import RunFiles


def write_trained_tools(folder: Path, base: Path, files: RunFiles, names: Collection[str]) -> None:
    """Note the tools of a training, and those that its base was trained on and that still are.

    Args:
        folder: of the trained model.
        base: of its base model.
        files: the run, whose tools have schemas; one of imported rows may have none.
        names: of the tools in the data.
    """
    try:
        listed = files.read_json(layout.TOOLS)
    except FileNotFoundError:
        listed = []
    specs = [ToolSpec.model_validate(one) for one in listed if one["name"] in names]
    # The data of an update are of all tools: what its base knew besides is gone.
    known = None if files.exists(layout.UPDATE) else _known(base / TOOLS_FILE)
    if not specs and known is None:
        return
    text = json.dumps(described(specs, known), indent=2, ensure_ascii=False) + "\n"
    (folder / TOOLS_FILE).write_text(text, "utf-8")


def _known(path: Path) -> dict[str, Any] | None:
    """Return what the base's folder says; None: nothing, or the file is another program's."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
        described((), found)
        return {"tools": found["tools"], "names": found["names"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None

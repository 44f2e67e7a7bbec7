"""The tools that a model was trained on, as its folder keeps them and as clients offer them.

Tools have the names here that requests know them by: ``safe_names``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ste_ray.core.prompts import offered_tool
from ste_ray.core.replies.chat_form import chat_tool
from ste_ray.core.tool_changes.schemas import schema_differences
from ste_ray.core.tool_specs import ToolSpec

TOOLS_FILE = "tools.json"  # in the folder of a trained model
_CUT = "…"


def described(specs: Iterable[ToolSpec], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what a model's folder says of its tools.

    Args:
        specs: the tools it was trained on.
        before: what the folder of its base says, if that was trained on tools too.

    Returns:
        ``tools`` as clients offer them, and ``names`` with the true names of those that have
        another one in requests.
    """
    tools = {one["function"]["name"]: one for one in (before or {}).get("tools", ())}
    names = dict((before or {}).get("names", {}))
    for spec in specs:
        safe = spec.safe_name
        tools[safe] = chat_tool(offered_tool(spec), safe)
        if safe != spec.name:
            names[safe] = spec.name
    return {"tools": [tools[name] for name in sorted(tools)], "names": names}


def drift(trained: Mapping[str, Any], offered: Mapping[str, Any]) -> list[str]:
    """Return the fields in which an offered function differs from the one that was learned.

    Schemas that only are written otherwise do not differ, nor do titles.

    Args:
        trained: ``name``, ``description`` and ``parameters``, as the folder has them.
        offered: likewise, as a client offers them.

    Returns:
        Paths with dots, such as ``parameters.properties.city.type``; none: nothing differs.
    """
    found = []
    old, new = (str(one.get("description") or "") for one in (trained, offered))
    cut = old.endswith(_CUT) and new.startswith(old.removesuffix(_CUT))
    if old != new and not cut:
        found.append("description")
    before, after = _schema(trained.get("parameters")), _schema(offered.get("parameters"))
    paths = (one.path for one in schema_differences(before, after))
    return [
        *found,
        *dict.fromkeys(f"parameters.{path}" if path else "parameters" for path in paths),
    ]


def _schema(parameters: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {}, **(parameters or {})}

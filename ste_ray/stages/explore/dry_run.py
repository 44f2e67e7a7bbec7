"""What an exploration would call, told before anything is called."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ste_ray.config import Config
from ste_ray.core.exploring.config import ExploreConfig
from ste_ray.core.schemas.values import Part, Place, described
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.report.terminal_tables import aligned
from ste_ray.stages.explore.rounds import rules_of
from ste_ray.stages.shared.tools import ConfiguredTools, open_tools
from ste_ray.tools.run.secrets import Secrets, used_secrets
from ste_ray.tools.run.toolbox import Toolbox
from ste_ray.tools.spec.safety import FREE_EFFECTS

_MAX_ARGUMENTS = 12


def dry_run(tools: ConfiguredTools, config: Config) -> dict[str, Any]:
    """Say which tools an exploration would call and how, without calling any.

    Returns:
        ``calls_at_most`` (calls of tools in a whole exploration), ``tools`` (the allowed ones, of
        which some may lack a secret or something that calls them) and ``left_out``. Of
        each tool there are: ``name``, ``kind``, ``effect``, ``where`` a call goes, ``allowed`` (and
        why, or why not), ``secrets`` (name -> whether it is set), ``takes`` (its arguments),
        ``example`` (arguments, or None where nobody gave any) and what a call with them ``would``
        do.
    """
    section = config.explore
    called = {n: s for n, s in tools.specs.items() if s.executor.can_be_called}
    toolbox = open_tools(config.tools, called)
    secrets = Secrets()
    rows = [_row(spec, toolbox, secrets) for spec in tools.specs.values()]
    return {
        "calls_at_most": _most_episodes(section, sum(map(_is_called, rows)), len(rows))
        * section.trials_per_episode
        * section.max_turns,
        "tools": rows,
        "left_out": [_row(spec, None, secrets) for spec in tools.left_out.values()],
    }


def _most_episodes(section: ExploreConfig, num_called: int, num_tools: int) -> int:
    """Return the episodes of tools that are called: others may leave some of theirs to them."""
    rules = rules_of(section)
    if rules is None:
        return section.episodes_per_tool * num_called
    left = rules.episodes * num_tools - rules.least * (num_tools - num_called)
    return min(rules.most * num_called, left)


def dry_run_lines(plan: Mapping[str, Any]) -> str:
    """Return the plan for a person: a table of all tools, then each with an example of a call."""
    rows = [*plan["tools"], *plan["left_out"]]
    missing = sorted(
        {name for row in rows for name, is_set in row["secrets"].items() if not is_set}
    )
    table = aligned(
        ["tool", "kind", "effect", "called", "where"],
        [
            [
                row["name"],
                row["kind"],
                row["effect"],
                row["allowed"].partition(":")[0],
                row["where"],
            ]
            for row in rows
        ],
        texts=True,
    )
    blocks = "\n".join(_block(row) for row in rows)
    unset = (
        f"\nSecrets that are not set: {', '.join(missing)}; an exploration needs those of all "
        "tools that are allowed"
        if missing
        else ""
    )
    left_out = len(plan["left_out"])
    why = f"; {left_out} left out because they were not allowed (tools.allow)" if left_out else ""
    return (
        f"{table}\n\n{blocks}\n"
        f"{sum(map(_is_called, plan['tools']))} tools would be called, at most "
        f"{plan['calls_at_most']:,} times in all{why}{unset}\n"
    )


def _is_called(row: Mapping[str, Any]) -> bool:
    return bool(row["allowed"].startswith("yes"))


def _row(spec: ToolSpec, toolbox: Toolbox | None, secrets: Secrets) -> dict[str, Any]:
    place = described(spec.parameters)
    example = _example(spec, place)
    names = sorted(used_secrets(spec))
    missing = secrets.missing(names)
    would = ""
    if spec.kind == "simulated":
        would = "ask a language model, which plays the tool from its documentation"
    elif toolbox is not None and example is not None and spec.executor.can_be_called:
        would = toolbox.preview_of(spec.name, example)
    return {
        "name": spec.name,
        "kind": spec.kind,
        "effect": spec.effect,
        "where": spec.executor.where,
        "allowed": _allowed(spec, toolbox is not None, missing),
        "secrets": {name: name not in missing for name in names},
        "takes": _takes(place),
        "example": example,
        "would": would,
    }


def _allowed(spec: ToolSpec, may_be: bool, missing: Sequence[str]) -> str:
    if not may_be:
        return (
            f"no: it may change something (effect {spec.effect}); give its name in tools.allow, or "
            "under allow: in its file"
        )
    if spec.kind == "simulated":
        return "yes: a model plays it, the tool is not reached"
    if not spec.executor.can_be_called:
        return "no: it can be described, but not called; a model can play it (tools.simulate)"
    if missing:
        return f"no: {', '.join(missing)} not set; a model can play it (tools.simulate)"
    if spec.effect in FREE_EFFECTS:
        return "yes: it only reads"
    return "yes: it may change something, and was allowed by name"


def _example(spec: ToolSpec, place: Place) -> dict[str, Any] | None:
    """Return arguments that somebody gave: an example, or the schema's own for what is required."""
    for example in spec.examples:
        if not example.expect_error:
            return example.arguments
    found = {}
    for name in place.always.required_in_order:
        values = _given(place.whatever.property(name).whatever)
        if not values:
            return None
        found[name] = values[0]
    return found


def _given(part: Part) -> list[Any]:
    """Return values that a schema names itself."""
    listed = [value for key in ("examples", "enum") for value in part.first(key) or ()]
    single = [part.first(key) for key in ("const", "example", "default") if part.has(key)]
    return [*single, *listed]


def _takes(place: Place) -> str:
    """Return the arguments of a tool, required ones first, each with its type."""
    required = place.always.required_in_order
    names = [*required, *(name for name in place.whatever.names if name not in required)]
    shown = [_argument(name, place, name in required) for name in names[:_MAX_ARGUMENTS]]
    more = len(names) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more > 0 else [])]) or "no arguments"


def _argument(name: str, place: Place, required: bool) -> str:
    kinds = place.whatever.property(name).whatever.first("type") or "any"
    kind = " or ".join(map(str, kinds)) if isinstance(kinds, list) else str(kinds)
    return f"{name} ({kind}{'' if required else ', may be left out'})"


def _block(row: Mapping[str, Any]) -> str:
    secrets = ", ".join(
        f"{name} ({'set' if is_set else 'not set'})" for name, is_set in row["secrets"].items()
    )
    parts = {
        "where": row["where"],
        "called": row["allowed"],
        "takes": row["takes"],
        "example": "none" if row["example"] is None else _json(row["example"]),
        "would": row["would"],
        "secrets": secrets,
    }
    lines = [f"  {name:<8} {text}\n" for name, text in parts.items() if text]
    return f"{row['name']}\n{''.join(lines)}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

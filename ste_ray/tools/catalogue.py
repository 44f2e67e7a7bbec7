"""Tools as a person looks them up: by family in a table, and one by one."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.config import ToolsConfig
from ste_ray.tools.run.secrets import Secrets
from ste_ray.tools.run.simulation import simulated_specs
from ste_ray.tools.spec.files import ToolFiles
from ste_ray.tools.spec.safety import is_free

_TEXT_CHARS = 72


@dataclass(frozen=True)
class Row:
    """A tool in a list.

    Attributes:
        explored: "yes", "simulated", or why an exploration would leave it out or refuse it.
    """

    name: str
    family: str
    kind: str
    effect: str
    explored: str
    description: str


def catalogue(files: ToolFiles, config: ToolsConfig) -> list[Row]:
    """Return a row for each tool, sorted by family and name."""
    secrets = Secrets()
    allowed = files.allow.union(config.allow)
    specs = simulated_specs(files.specs, config.simulate, secrets)
    rows = [
        Row(
            name=spec.name,
            family=spec.family,
            kind=spec.kind,
            effect=spec.effect,
            explored=_explored(specs[spec.name], allowed, secrets),
            description=spec.description,
        )
        for spec in files.specs.values()
    ]
    return sorted(rows, key=lambda row: (row.family, row.name))


def _explored(spec: ToolSpec, allowed: Collection[str], secrets: Secrets) -> str:
    if spec.kind == "simulated":
        return "simulated"
    if not spec.executor.can_be_called:
        return "refused: cannot be called"
    if not is_free(spec) and spec.name not in allowed:
        return "no: not allowed"
    missing = secrets.missing(spec.secrets)
    return f"refused: {', '.join(missing)} not set" if missing else "yes"


def find(specs: Mapping[str, ToolSpec], name: str) -> ToolSpec:
    """Return the tool that is called ``name``, or whose safe name that is.

    Raises:
        ToolSpecError: there is none.
    """
    if name in specs:
        return specs[name]
    for spec in specs.values():
        if spec.safe_name == name:
            return spec
    raise ToolSpecError(
        f"there is no tool {name!r}{did_you_mean(name, specs, 3)} among {len(specs)};"
        " 'ste-ray tools list' shows them, and --file names the file it is in"
    )


def as_table(rows: Sequence[Row]) -> str:
    """Return the rows as an aligned table, one family after the other."""
    width = max((len(row.name) for row in rows), default=0)
    lines: list[str] = []
    family = None
    for row in rows:
        if row.family != family:
            family = row.family
            lines.append(f"{family or 'no family'}\n")
        state = "" if row.explored == "yes" else f" [{row.explored}]"
        text = " ".join(row.description.split())
        text = text if len(text) <= _TEXT_CHARS else f"{text[: _TEXT_CHARS - 1]}…"
        lines.append(f"  {row.name:<{width}}  {row.kind:<9} {row.effect:<11} {text}{state}\n")
    explored = sum(row.explored in ("yes", "simulated") for row in rows)
    lines.append(f"{len(rows)} tools, {explored} of them would be explored\n")
    return "".join(lines)


def as_text(spec: ToolSpec) -> str:
    """Return all about a tool, for a person."""
    executor = {k: value for k, value in spec.executor.as_written().items() if k != "kind"}
    parts = {
        "description": spec.description,
        "parameters": json.dumps(spec.parameters, indent=2, ensure_ascii=False),
        "effect": spec.effect,
        "kind": spec.kind,
        "executor": json.dumps(executor, indent=2, ensure_ascii=False),
        "secrets": ", ".join(spec.secrets) or "none",
        "timeout": f"{spec.timeout_seconds:g} s",
        "safe name": spec.safe_name,
    }
    if spec.requests_per_minute:
        parts["requests per minute"] = f"{spec.requests_per_minute:g}"
    if spec.concurrency:
        parts["calls at once"] = f"at most {spec.concurrency}"
    if spec.examples:
        calls = [
            f"{json.dumps(example.arguments, ensure_ascii=False)}"
            + (" (an error is expected)" if example.expect_error else "")
            for example in spec.examples
        ]
        parts["examples"] = "\n".join(calls)
    lines = [f"{name}:{_indented(text)}\n" for name, text in parts.items()]
    return f"{spec.name}\n{''.join(lines)}"


def _indented(text: str) -> str:
    if "\n" not in text:
        return f" {text}"
    return "\n" + "\n".join(f"  {line}" for line in text.splitlines())

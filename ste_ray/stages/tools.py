"""The tools of a run: which ones the configuration asks for, and what calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ste_ray.config import Config, ToolsConfig
from ste_ray.core.records import ToolSpec
from ste_ray.core.schemas import described
from ste_ray.resources import resource_folder
from ste_ray.store.artifacts import open_store
from ste_ray.tools.opening import Simulator, Surroundings, open_toolbox
from ste_ray.tools.safety import allowed_specs
from ste_ray.tools.secrets import Secrets
from ste_ray.tools.simulation import simulated_specs
from ste_ray.tools.spec import read_tool_files
from ste_ray.tools.toolbox import Toolbox, refuse_uncallable


@dataclass(frozen=True)
class ConfiguredTools:
    """The tools that an exploration will call.

    Attributes:
        specs: by name, sorted; simulated where the configuration says so.
        left_out: tools that may not be called because nobody allowed it.
        allow_hosts: private hosts that they may reach, from the configuration and the files.
    """

    specs: dict[str, ToolSpec]
    left_out: dict[str, ToolSpec]
    allow_hosts: tuple[str, ...]

    @property
    def simulated(self) -> list[str]:
        """The names of those that a model plays."""
        return [name for name, spec in self.specs.items() if spec.executor["kind"] == "simulated"]


def configure_tools(config: ToolsConfig) -> ConfiguredTools:
    """Read the tool files and decide which tools are called, and which of them a model plays.

    Raises:
        ToolSpecError: a file is wrong, a tool cannot be called, or none may be.
    """
    files = read_tool_files(config.files, config.include, shipped=resource_folder("tool_metadata"))
    specs = simulated_specs(files.specs, config.simulate, Secrets())
    allow = files.allow.union(config.allow)
    specs, left_out = allowed_specs(specs, allow, config.include)
    refuse_uncallable(specs.values())
    hosts = tuple(dict.fromkeys((*config.allow_hosts, *files.allow_hosts)))
    return ConfiguredTools(specs, left_out, hosts)


def open_tools(
    config: ToolsConfig, specs: dict[str, ToolSpec], simulator: Simulator | None = None
) -> Toolbox:
    """Return what calls ``specs``, with recordings where the configuration asks for them."""
    recordings = open_store(config.recordings) if config.recordings else None
    return open_toolbox(specs, config, Surroundings(recordings=recordings, simulator=simulator))


def dry_run(tools: ConfiguredTools, config: Config) -> dict[str, Any]:
    """Say which tools an exploration would call and how, without calling any.

    Returns:
        ``calls_at_most`` (calls of tools in a whole exploration), ``tools`` (name, kind, effect and
        how a call looks, with an example's arguments or placeholders) and ``left_out`` (name and
        effect).
    """
    section = config.explore
    per_tool = section.episodes_per_tool * section.trials_per_episode * section.max_turns
    called = {n: s for n, s in tools.specs.items() if s.executor["kind"] != "simulated"}
    toolbox = open_tools(config.tools, called)
    rows = [
        {
            "name": name,
            "kind": spec.executor["kind"],
            "effect": spec.effect,
            "would": toolbox.preview_of(name, _example(spec)) if name in called else "ask a model",
        }
        for name, spec in tools.specs.items()
    ]
    left_out = [{"name": s.name, "effect": s.effect} for s in tools.left_out.values()]
    return {"calls_at_most": per_tool * len(rows), "tools": rows, "left_out": left_out}


def dry_run_lines(plan: dict[str, Any]) -> str:
    """Return the plan for a person."""
    lines = [
        f"{row['name']}  ({row['kind']}, {row['effect']})\n  {row['would']}\n"
        for row in plan["tools"]
    ]
    lines += [f"{row['name']}  ({row['effect']})\n  left out\n" for row in plan["left_out"]]
    lines.append(
        f"{len(plan['tools'])} tools would be called, at most {plan['calls_at_most']} times in "
        f"all; {len(plan['left_out'])} left out because they were not allowed (tools.allow)\n"
    )
    return "".join(lines)


def _example(spec: ToolSpec) -> dict[str, Any]:
    for example in spec.examples:
        if not example.expect_error:
            return example.arguments
    return {name: name for name in described(spec.parameters).always.required_in_order}

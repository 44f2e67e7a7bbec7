"""The tools of a run: which ones the configuration asks for, and what calls them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.resources import resource_folder
from ste_ray.store.artifacts import open_store
from ste_ray.tools.config import ToolsConfig
from ste_ray.tools.run.opening import Simulator, Surroundings, open_toolbox
from ste_ray.tools.run.secrets import Secrets
from ste_ray.tools.run.simulation import simulated_specs
from ste_ray.tools.run.toolbox import Toolbox, refuse_uncallable
from ste_ray.tools.spec.files import read_tool_files
from ste_ray.tools.spec.safety import allowed_specs, divided_specs, is_free


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
        return [name for name, spec in self.specs.items() if spec.kind == "simulated"]


def configure_tools(config: ToolsConfig) -> ConfiguredTools:
    """Read the tool files and decide which tools are called, and which of them a model plays.

    Raises:
        ToolSpecError: a file is wrong, a tool cannot be called, or none may be.
    """
    tools, refusal = survey_tools(config)
    if refusal is not None:
        raise refusal
    return tools


def survey_tools(config: ToolsConfig) -> tuple[ConfiguredTools, ToolSpecError | None]:
    """Do the same for whoever only looks: what an exploration would be refused for is returned.

    Raises:
        ToolSpecError: a file is wrong.
    """
    files = read_tool_files(config.files, config.include, shipped=resource_folder("tool_metadata"))
    specs = simulated_specs(files.specs, config.simulate, Secrets())
    allow = files.allow.union(config.allow)
    hosts = tuple(dict.fromkeys((*config.allow_hosts, *files.allow_hosts)))
    tools = ConfiguredTools(*divided_specs(specs, allow), hosts)
    try:
        allowed_specs(specs, allow, config.include)
        refuse_uncallable(tools.specs.values())
    except ToolSpecError as error:
        return tools, error
    return tools, None


def catalogue_specs(files: Sequence[str]) -> dict[str, ToolSpec]:
    """Return tools that are only described to models, by name.

    Raises:
        ToolSpecError: a file cannot be used.
    """
    return dict(read_tool_files(files, (), shipped=resource_folder("tool_metadata")).specs)


def permissions(config: ToolsConfig) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return which tools may change something, and which private hosts tools may reach.

    As configuration and tool files say it now, whatever an earlier stage was allowed.

    Raises:
        ToolSpecError: a tool file is wrong.
    """
    files = read_tool_files(config.files, (), shipped=resource_folder("tool_metadata"))
    hosts = tuple(dict.fromkeys((*config.allow_hosts, *files.allow_hosts)))
    return files.allow.union(config.allow), hosts


def why_not_executed(spec: ToolSpec, allow: Collection[str]) -> str:
    """Return why a call that a model makes of a tool is not executed; empty: it may be.

    Args:
        spec: the tool.
        allow: names of tools that may be called although they may change something.
    """
    if spec.kind == "simulated":
        return "a model plays it, in explorations alone"
    if not spec.executor.can_be_called:
        return f"executor.kind={spec.kind!r} cannot be called"
    if not (is_free(spec) or spec.name in allow):
        return (
            f"it may change something (effect {spec.effect!r}), which nobody has allowed; set"
            f" tools.allow=[{spec.name}], or name it under allow: in its file"
        )
    return ""


def open_tools(
    config: ToolsConfig, specs: dict[str, ToolSpec], simulator: Simulator | None = None
) -> Toolbox:
    """Return what calls ``specs``, with recordings where the configuration asks for them."""
    recordings = open_store(config.recordings) if config.recordings else None
    return open_toolbox(specs, config, Surroundings(recordings=recordings, simulator=simulator))

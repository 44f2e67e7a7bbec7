"""Puts a toolbox together: the executor of each kind, with masking, recording and simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from ste_ray.core import layout
from ste_ray.core.prompts import PromptSet
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError
from ste_ray.ports import ArtifactStore
from ste_ray.tools.config import ToolsConfig
from ste_ray.tools.http.client import HttpClient
from ste_ray.tools.run.executor import Executor
from ste_ray.tools.run.masking import MaskingExecutor
from ste_ray.tools.run.recording import RecordingExecutor
from ste_ray.tools.run.secrets import Secrets
from ste_ray.tools.run.simulation import AskSimulator, SimulatedExecutor
from ste_ray.tools.run.toolbox import Toolbox


@dataclass(frozen=True)
class Simulator:
    """What playing tools needs.

    Attributes:
        ask: asks the model that plays the tool simulator.
        prompts: the shipped prompts.
        store: where its answers are kept, so that equal calls get equal answers in a run.
    """

    ask: AskSimulator
    prompts: PromptSet
    store: ArtifactStore


@dataclass(frozen=True)
class Surroundings:
    """What executors use besides their configuration.

    Attributes:
        secrets: looked up when tools are called.
        recordings: the store behind ``tools.recordings``, if recording is on.
        simulator: for simulated tools; None: there can be none.
    """

    secrets: Secrets = field(default_factory=Secrets)
    recordings: ArtifactStore | None = None
    simulator: Simulator | None = None


def open_toolbox(
    specs: Mapping[str, ToolSpec], config: ToolsConfig, around: Surroundings | None = None
) -> Toolbox:
    """Return a toolbox for ``specs``; nothing is started before it is needed.

    Raises:
        ConfigError: recording is on, and there is no place for the recordings.
    """
    around = around or Surroundings()
    if config.recording != "off" and around.recordings is None:
        raise ConfigError(
            f"tools.recording={config.recording!r} needs tools.recordings: the URI of a folder or "
            "s3://bucket/prefix"
        )

    def open_executor(kind: str) -> Executor:
        executor: Executor = MaskingExecutor(_FACTORIES[kind](config, around), around.secrets)
        if kind == "simulated":
            assert around.simulator is not None
            executor = RecordingExecutor(
                executor, around.simulator.store, "reuse", _now, folder=layout.SIMULATED_ANSWERS
            )
        if config.recording != "off":
            assert around.recordings is not None
            executor = RecordingExecutor(executor, around.recordings, config.recording, _now)
        return executor

    return Toolbox(specs, open_executor)


def _python(config: ToolsConfig, around: Surroundings) -> Executor:
    from ste_ray.tools.python.executor import PythonExecutor
    from ste_ray.tools.python.pool import WorkerPool

    pool = WorkerPool(config.num_workers, config.memory_mb, config.today)
    return PythonExecutor(pool, around.secrets)


def _mcp(config: ToolsConfig, around: Surroundings) -> Executor:
    # The library takes half a second to import, and few runs need it.
    from ste_ray.tools.mcp.executor import McpExecutor

    return McpExecutor(around.secrets, config.allow_hosts, config.max_servers)


def _http(config: ToolsConfig, around: Surroundings) -> Executor:
    from ste_ray.tools.http.executor import HttpExecutor

    return HttpExecutor(HttpClient(config.allow_hosts), around.secrets)


def _rapidapi(config: ToolsConfig, around: Surroundings) -> Executor:
    from ste_ray.tools.http.executor import RapidApiExecutor

    return RapidApiExecutor(HttpClient(config.allow_hosts), around.secrets)


def _openapi(config: ToolsConfig, around: Surroundings) -> Executor:
    from ste_ray.tools.openapi.executor import OpenApiExecutor

    return OpenApiExecutor(HttpClient(config.allow_hosts), around.secrets)


def _toolbench(config: ToolsConfig, around: Surroundings) -> Executor:
    from ste_ray.tools.toolbench.executor import ToolbenchExecutor

    # The server was named by whoever runs this: it may well be a private one.
    host = urlsplit(config.toolbench_url).netloc.rpartition("@")[2]
    client = HttpClient([*config.allow_hosts, *([host] if host else [])])
    return ToolbenchExecutor(client, around.secrets, config.toolbench_url, config.toolbench_form)


def _simulated(_: ToolsConfig, around: Surroundings) -> Executor:
    if around.simulator is None:
        raise ConfigError(
            "simulated tools are played by a model, which only an exploration asks; call another "
            "tool, or explore"
        )
    return SimulatedExecutor(around.simulator.ask, around.simulator.prompts)


def _now() -> datetime:
    return datetime.now(UTC)


_FACTORIES: Mapping[str, Callable[[ToolsConfig, Surroundings], Executor]] = {
    "python": _python,
    "mcp": _mcp,
    "http": _http,
    "rapidapi": _rapidapi,
    "openapi": _openapi,
    "toolbench": _toolbench,
    "simulated": _simulated,
}

"""What the benchmarks share: a teacher in its own process, generated tools, explorers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray

from ste_ray.config import Config, load_config
from ste_ray.core import layout
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.llm.checking import check_endpoints
from ste_ray.runtime import segments
from ste_ray.runtime.clock import MonotonicClock
from ste_ray.runtime.fakes import ConstantTool, FakeToolbox
from ste_ray.stages.cluster.connect import ray_connection
from ste_ray.stages.explore.coordinator import Coordinator, packed
from ste_ray.stages.explore.explorer import Explorer
from ste_ray.stages.shared.limit_actor import RemoteCall
from ste_ray.stages.shared.limit_server import LimitServer
from ste_ray.stages.shared.model_session import Models
from ste_ray.store.artifacts import RunStore, open_store

_KINDS = ("string", "integer", "number", "boolean")


class Teacher:
    """A scripted teacher in a process of its own."""

    def __init__(self, url: str, process: psutil.Process) -> None:
        self.url = url  # ends in /v1
        self.process = process

    def get(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask one of the teacher's own addresses; with a body it is a POST."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{self.url.removesuffix('/v1')}{path}", data=data, headers=headers
        )
        with urllib.request.urlopen(request) as reply:
            found: dict[str, Any] = json.load(reply)
        return found


@contextmanager
def teacher(*options: str) -> Iterator[Teacher]:
    """Serve the teacher on a free port."""
    command = [sys.executable, "-m", "ste_ray", "teacher", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Teacher(process.stdout.readline().split()[-1], psutil.Process(process.pid))
        finally:
            process.kill()


def by_name(specs: Sequence[ToolSpec]) -> dict[str, ToolSpec]:
    """Return specifications as an exploration takes them."""
    return {spec.name: spec for spec in specs}


def generated_specs(number: int, target: str = "builtins:dict") -> list[ToolSpec]:
    """Return tools whose schemas differ: one to six parameters of differing names and types."""
    specs = []
    for index in range(number):
        properties = {
            f"field_{index % 97}_{at}": {
                "type": _KINDS[(index + at) % len(_KINDS)],
                "description": f"value {at} of record kind {index}",
            }
            for at in range(1 + index % 6)
        }
        specs.append(
            ToolSpec(
                name=f"store_record_{index:05d}",
                description=f"Looks up a record of kind {index} and returns what is stored.",
                effect="read_only",
                executor={"kind": "python", "target": target},
                parameters={
                    "type": "object",
                    "properties": properties,
                    "required": sorted(properties)[: 1 + index % 2],
                },
            )
        )
    return specs


def write_tools(path: Path, number: int) -> Path:
    """Write generated tools as a tool file."""
    tools = [
        spec.model_dump(mode="json", exclude_defaults=True) for spec in generated_specs(number)
    ]
    path.write_text(json.dumps({"tools": tools}))
    return path


@contextmanager
def local_ray() -> Iterator[None]:
    """Connect to a Ray of this benchmark's own."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ.pop("RAY_ADDRESS", None)
    with ray_connection():
        yield


class Fleet:
    """Explorers that are up and wait for work, with tools that do nothing."""

    def __init__(self, store: RunStore, config: Config, specs: Mapping[str, ToolSpec]) -> None:
        self.store, self.config = store, config
        self._specs = {
            name: packed(spec.model_dump_json().encode()) for name, spec in specs.items()
        }
        self._actors: list[Any] = []
        self.names: list[str] = []

    def start(self) -> None:
        """Start coordinator, limit server and explorers, and wait until all have come up."""
        config, section = self.config, self.config.explore
        endpoints = check_endpoints(config.llm, ("explorer",), {})
        for folder in (layout.EXPLORE_JOURNAL, layout.EPISODE_PARTS):
            segments.seal(self.store, folder, 1)
        self.coordinator = (
            ray.remote(Coordinator)
            .options(num_cpus=0, max_concurrency=1000)
            .remote(
                self.store,
                1,
                self._specs,
                episodes_per_tool=section.episodes_per_tool,
                num_explorers=section.num_explorers,
                lease_seconds=60,
                clock=MonotonicClock(),
            )
        )
        self.limit_server = (
            ray.remote(LimitServer)
            .options(num_cpus=0)
            .remote(endpoints.limits(), None, num_clients=section.num_explorers)
        )
        for number in range(section.num_explorers):
            name = f"explorer-{number:04d}"
            actor = (
                ray.remote(Explorer)
                .options(num_cpus=0, max_concurrency=10)
                .remote(
                    name,
                    config,
                    Models(endpoints, RemoteCall(self.limit_server, "grant")),
                    self.store,
                    1,
                    RemoteCall(self.coordinator, "exchange"),
                    False,
                    lambda *_: FakeToolbox(ConstantTool("stored")),
                )
            )
            self._actors.append(actor)
            self.names.append(name)
        ray.get([actor.__ray_ready__.remote() for actor in self._actors])
        ray.get(self.coordinator.recover.remote())

    def explore(self) -> list[Any]:
        """Let all explorers begin; return references to what they return at the end."""
        return [actor.run.remote() for actor in self._actors]

    def stop(self) -> None:
        """End all that was started."""
        for actor in (*self._actors, self.coordinator, self.limit_server):
            ray.kill(actor)


@contextmanager
def fleet(
    folder: Path, specs: Mapping[str, ToolSpec], url: str, *overrides: str
) -> Iterator[Fleet]:
    """Run a fleet against the teacher at ``url``."""
    config = load_config(None, [f"llm.base_url={url}", *overrides])
    with ExitStack() as stack:
        made = Fleet(open_store(str(folder)), config, specs)
        made.start()
        stack.callback(made.stop)
        yield made


def processes(*names: str) -> dict[str, list[psutil.Process]]:
    """Return the Ray actor processes below this one, by class name."""
    found: dict[str, list[psutil.Process]] = {name: [] for name in names}
    for process in psutil.Process().children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        for name in names:
            if f"ray::{name}" in line:
                found[name].append(process)
    return found


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def wait_for(condition: Any, seconds: float) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not happen within {seconds} s")
        time.sleep(0.05)

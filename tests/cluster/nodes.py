"""Ray nodes on one machine that can lose each other: each in a network namespace of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from tests.cluster.manifests import K8S

_PORT = 6379
_DASHBOARD = 8265


def require_namespaces() -> None:
    """Skip where no network namespace can be made."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2")
    if subprocess.run(["ip", "netns", "list"], capture_output=True, check=False).returncode != 0:
        pytest.skip("network namespaces cannot be made here")


def deployed_settings() -> dict[str, str]:
    """Return Ray's environment variables as the Kubernetes manifests set them."""
    lines = (K8S / "base/settings.env").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line.startswith("RAY_")]
    return {name: value for name, _, value in pairs}


class Nodes:
    """Hosts ``h0``, ``h1``, … on a bridge, and the Ray nodes in them."""

    def __init__(self, folder: Path, number: int, environment: Mapping[str, str]) -> None:
        self._id = uuid4().hex[:4]
        self._folder = folder
        self._number = number
        self.token = uuid4().hex
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "HOME": str(folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "90",
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        self._bridge = f"sb{self._id}"
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("link", "set", self._bridge, "up")
        for host in range(number):
            self._add_host(host)

    def address(self, host: int) -> str:
        return f"10.213.77.{host + 1}"

    def _add_host(self, host: int) -> None:
        name, outer, inner = self._name(host), f"so{self._id}{host}", f"si{self._id}{host}"
        _ip("netns", "add", name)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        _ip("link", "set", outer, "master", self._bridge)
        _ip("link", "set", outer, "up")
        _ip("link", "set", inner, "netns", name)
        _ip("-n", name, "addr", "add", f"{self.address(host)}/24", "dev", inner)
        _ip("-n", name, "link", "set", inner, "up")
        _ip("-n", name, "link", "set", "lo", "up")

    def _name(self, host: int) -> str:
        return f"ste{self._id}h{host}"

    def start(self, host: int, command: list[str], **environment: str) -> subprocess.Popen[str]:
        """Start a command on a host."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self._name(host), *command],
            env={**self._env, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, host: int, command: list[str], timeout: float = 180, **environment: str) -> str:
        """Run a command on a host and return what it wrote."""
        process = self.start(host, command, **environment)
        output, _ = process.communicate(timeout=timeout)
        assert process.returncode == 0, output[-4000:]
        return output

    def start_head(self, host: int = 0, **environment: str) -> None:
        head = [f"--port={_PORT}", f"--dashboard-port={_DASHBOARD}", "--dashboard-host=0.0.0.0"]
        self._start_node(host, ["--head", "--num-cpus=0", *head], environment)

    def start_worker(self, host: int) -> None:
        self._start_node(host, [f"--address={self.address(0)}:{_PORT}", "--num-cpus=2"], {})

    def _start_node(self, host: int, options: list[str], environment: dict[str, str]) -> None:
        # With processes of its own, as a host has: Ray looks for other nodes among those it sees.
        alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        process = self.start(
            host,
            [*alone, *_ray("start", "--block"), *options,
             f"--node-ip-address={self.address(host)}", "--object-store-memory=134217728",
             "--disable-usage-stats", *([f"--temp-dir={self._folder}/ray"] if host == 0 else [])],
            **environment,
        )  # fmt: skip
        url = f"http://{self.address(host)}:52365/api/healthz"
        ask = f"import urllib.request as u; u.urlopen({url!r}, timeout=5)"
        check = [sys.executable, "-c", ask]
        wait_until(lambda: self.start(host, check).wait() == 0, process, 120)

    def submit(self, *command: str) -> subprocess.Popen[str]:
        """Submit a job on the head and follow its log."""
        address = f"http://{self.address(0)}:{_DASHBOARD}"
        return self.start(0, [*_ray("job", "submit", "--address", address), "--", *command])

    def cut_off(self, host: int) -> None:
        """Take the host off the network without closing a connection."""
        _ip("link", "set", f"so{self._id}{host}", "down")

    def kill(self, host: int) -> None:
        """Kill every process on the host."""
        for _ in range(20):
            pids = [int(pid) for pid in _ip("netns", "pids", self._name(host)).split()]
            if not pids:
                return
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], 2)

    def remove(self) -> None:
        for host in range(self._number):
            with suppress(AssertionError):
                self.kill(host)
                _ip("netns", "delete", self._name(host))
        with suppress(AssertionError):
            _ip("link", "delete", self._bridge)


def _ray(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ray.scripts.scripts", *arguments]


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout


@contextmanager
def nodes(folder: Path, number: int, environment: Mapping[str, str]) -> Iterator[Nodes]:
    require_namespaces()
    made = Nodes(folder, number, environment)
    try:
        yield made
    finally:
        made.remove()


def wait_until(condition: Any, process: subprocess.Popen[str], seconds: float) -> None:
    """Wait for what a running process brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stdout and process.stdout.read()[-4000:]
        assert time.monotonic() < deadline
        time.sleep(0.2)

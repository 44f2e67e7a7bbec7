"""A Ray head of one's own on this machine: own ports, own temporary folder, nothing left behind.

The processes of the head inherit an environment variable with the cluster's id. A small reaper
process waits for the end of the process that started the head, however it comes about (return,
Ctrl-C, ``kill -9``), and ends every process of the cluster.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import psutil

from ste_ray.errors import TemporaryError
from ste_ray.stages.cluster.connect import START_WAIT

MARKER = "STE_RAY_LOCAL_CLUSTER"
_START_SECONDS = 180.0
#: How long the head lets a job end in order that is stopped: a step of training and its checkpoint.
JOB_STOP_SECONDS = 100
_PORT_OPTIONS = (
    "--port",
    "--dashboard-port",
    "--ray-client-server-port",
    "--dashboard-agent-listen-port",
    "--dashboard-agent-grpc-port",
    "--runtime-env-agent-port",
    "--metrics-export-port",
    "--node-manager-port",
    "--object-manager-port",
)


class LocalCluster:
    """A context manager that starts a head and ends all of its processes.

    Attributes:
        dashboard_url: where jobs are submitted.
        headers: what a client of the dashboard must send; the token is this cluster's own.

    Args:
        num_cpus: what Ray may schedule; may exceed the cores, for work that waits.
        object_store_mb: size of the shared-memory store.
    """

    def __init__(self, num_cpus: int = 4, object_store_mb: int = 256) -> None:
        self._num_cpus = num_cpus
        self._object_store_bytes = object_store_mb * 2**20
        self._id = secrets.token_hex(8)
        self._folder = ""
        self._reaper: subprocess.Popen[bytes] | None = None
        ports = dict(zip(_PORT_OPTIONS, _free_ports(len(_PORT_OPTIONS)), strict=True))
        self._ports = ports
        self.dashboard_url = f"http://127.0.0.1:{ports['--dashboard-port']}"
        self._token = secrets.token_hex(32)
        self.headers = {"Authorization": f"Bearer {self._token}"}

    def __enter__(self) -> LocalCluster:
        # Ray puts Unix sockets below this folder, whose paths may have about 100 characters.
        self._folder = tempfile.mkdtemp(prefix="ste-", dir="/tmp")
        self._reaper = subprocess.Popen(
            [sys.executable, "-m", "ste_ray.stages.cluster.reaper", self._id, self._folder],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._start_head()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def processes(self) -> list[psutil.Process]:
        """The living processes of the cluster."""
        return cluster_processes(self._id)

    def stop(self) -> None:
        """End all processes of the cluster and remove its folder; safe to call twice."""
        reaper, self._reaper = self._reaper, None
        if reaper is not None:
            assert reaper.stdin is not None
            reaper.stdin.close()
            reaper.wait()

    def _start_head(self) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head"]
        command += [f"{option}={port}" for option, port in self._ports.items()]
        command += [
            "--node-ip-address=127.0.0.1",
            "--dashboard-host=127.0.0.1",
            "--min-worker-port=0",
            "--max-worker-port=0",
            f"--num-cpus={self._num_cpus}",
            f"--object-store-memory={self._object_store_bytes}",
            f"--temp-dir={self._folder}",
            "--disable-usage-stats",
        ]
        log = Path(self._folder) / "head.log"
        scratch = Path(self._folder) / "tmp"
        scratch.mkdir()
        environment = {
            **os.environ,
            **START_WAIT,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_JOB_STOP_WAIT_TIME_S": str(JOB_STOP_SECONDS),  # else 3, then it is killed
            "TMPDIR": str(scratch),  # what killed processes leave there goes with the folder
            MARKER: self._id,
        }
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # those of another cluster
            environment.pop(name, None)
        with log.open("wb") as output:
            try:
                started = subprocess.run(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for us; the reaper ends the head
                    timeout=_START_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise TemporaryError(
                    f"the local Ray head did not start within {_START_SECONDS:g} s; "
                    "is the machine very busy? Run the command again"
                ) from None
        if started.returncode != 0:
            tail = " | ".join(log.read_text(errors="replace").split("\n")[-6:]).strip()
            raise TemporaryError(f"the local Ray head did not start: {tail}")
        self._wait_for_dashboard()

    def _wait_for_dashboard(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        port = self._ports["--dashboard-port"]
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.2)
        raise TemporaryError(
            f"the local Ray head's dashboard did not come up within {_START_SECONDS:g} s; "
            "is the machine very busy? Run the command again"
        )


def _free_ports(count: int) -> list[int]:
    """Return distinct free ports; all are held until the last is found."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def end_cluster(cluster_id: str, folder: str) -> None:
    """Kill every process of the cluster ``cluster_id``, then remove ``folder``."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        processes = cluster_processes(cluster_id)
        if not processes:
            break
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, timeout=5)
    shutil.rmtree(folder, ignore_errors=True)


def cluster_processes(cluster_id: str) -> list[psutil.Process]:
    """Return the processes that carry the id in their environment, and all below them.

    Ray's agents and workers write their title over their environment, but they are children of a
    process that does not.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == cluster_id:
                below = process.children(recursive=True)
                found |= {one.pid: one for one in (process, *below)}
        except (psutil.Error, OSError):
            continue  # it ended, or belongs to someone else
    return [one for one in found.values() if _alive(one)]


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False

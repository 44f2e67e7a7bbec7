"""The demo: its base model, and all stages as submitted Ray jobs on a head of its own."""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from threading import Event, Thread
from typing import Any

import psutil
from ray.job_submission import JobStatus, JobSubmissionClient

from ste_ray.core import layout
from ste_ray.core.stages import STAGES
from ste_ray.errors import SteRayError, TemporaryError, UserError
from ste_ray.resources import resource_folder
from ste_ray.stages.cluster.local import JOB_STOP_SECONDS, LocalCluster
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import read_manifest

_POLL_SECONDS = 0.5
_STOP_SECONDS = JOB_STOP_SECONDS + 10.0  # then the head has ended the job itself
_SAMPLE_SECONDS = 5.0  # a look at the pages of a whole model takes a tenth of a second and more
_ENDED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED)


@dataclass(frozen=True)
class StageTime:
    """Wall time and peak memory of one submitted stage, and whether it was complete before."""

    stage: str
    seconds: float
    peak_bytes: int
    skipped: bool


@dataclass(frozen=True)
class DemoModel:
    """The base model of a demo.

    Attributes:
        base: as ``train.model.base`` names it; empty: a small one with random weights.
        name: what it is, for people; empty like ``base``.
        reason: why it is a small one.
        bf16: whether it computes in bf16, which the CPU that the demo was begun on does by itself.
    """

    base: str
    name: str
    reason: str
    bf16: bool = False

    def text(self) -> str:
        """Say what it is, and why."""
        return self.name or f"a small Llama with random weights, since {self.reason}"


def kept_model(store: RunStore) -> DemoModel | None:
    """Return the base model that the demo in this run was begun with; None: none was."""
    if not store.exists(layout.DEMO_MODEL):
        return None
    return DemoModel(**store.read_json(layout.DEMO_MODEL))


def keep_model(store: RunStore, model: DemoModel) -> None:
    """Note the base model of a run, for the report and for whoever goes on with it."""
    store.write_json(layout.DEMO_MODEL, asdict(model))


def run_demo(
    store: RunStore, arguments: list[str], progress: Callable[[str], None]
) -> list[StageTime]:
    """Submit every stage to a local head and wait for it.

    Args:
        store: the run; its URI is absolute when local, because jobs run in a folder of Ray's.
        arguments: further arguments of each stage, such as ``--config``.
        progress: is given each line that a stage writes.

    Raises:
        SteRayError: a stage failed; the error has the stage's own exit code.
    """
    times = []
    progress("demo: starting a local Ray head")
    with LocalCluster() as cluster:
        client = _client(cluster)
        for stage in STAGES:
            script = resource_folder("jobs") / f"{stage}.py"
            command = [sys.executable, str(script), "--run", store.uri, "--again", *arguments]
            started, skipped = time.monotonic(), read_manifest(store, stage) is not None
            with _peak_memory(cluster) as peak:
                _run_job(client, stage, shlex.join(command), progress)
            times.append(StageTime(stage, time.monotonic() - started, peak[0], skipped))
    return times


def _client(cluster: LocalCluster) -> JobSubmissionClient:
    # Ray prefers these variables to the address it is given; they may name another cluster.
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        os.environ.pop(name, None)
    with _told_if_gone("its start"):
        return JobSubmissionClient(cluster.dashboard_url, headers=cluster.headers)


class _HeadGoneError(TemporaryError):
    """The local Ray head does not answer any more."""


@contextmanager
def _told_if_gone(during: str) -> Iterator[None]:
    """Say what is wrong where the job client fails.

    Raises:
        _HeadGoneError: in place of what the client raises: errors of ``requests``, which are
            ``OSError`` but no ``ConnectionError``, and ``RuntimeError`` for a dying head's replies.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise _HeadGoneError(
            f"the local Ray head stopped answering during {during} ({error}); run the command again"
        ) from None


def _run_job(
    client: JobSubmissionClient, stage: str, entrypoint: str, progress: Callable[[str], None]
) -> None:
    """Run a job to its end; on Ctrl-C or SIGTERM it is told to end, as it may keep what it has.

    Raises:
        SteRayError: it failed, or the head is gone.
        KeyboardInterrupt: or ``SystemExit``, once the job has ended; another Ctrl-C meanwhile, and
            it ends with the cluster.
    """
    with _told_if_gone(stage):
        job = _Job(client, stage, progress, client.submit_job(entrypoint=entrypoint))
    try:
        status = job.wait()
    except (KeyboardInterrupt, SystemExit):
        progress(
            f"demo: stopping {stage}, which keeps what it has made; this takes {_STOP_SECONDS:g} s"
            " at most, and Ctrl-C ends it at once"
        )
        with suppress(_HeadGoneError):  # so is the job then
            with _told_if_gone(stage):
                client.stop_job(job.name)
            job.wait(_STOP_SECONDS)
        raise
    if status != JobStatus.SUCCEEDED:
        raise _stage_error(client, job.name, stage, job.lines)


@dataclass
class _Job:
    """A submitted job, whose lines are handed on as they come."""

    client: JobSubmissionClient
    stage: str
    progress: Callable[[str], None]
    name: str
    lines: list[str] = field(default_factory=list)
    num_shown: int = 0

    def wait(self, seconds: float = math.inf) -> JobStatus:
        """Return how it ended, or how it stands after ``seconds``."""
        deadline = time.monotonic() + seconds
        while True:
            with _told_if_gone(self.stage):
                status = self.client.get_job_status(self.name)
                self.lines = self.client.get_job_logs(self.name).split("\n")
            complete = self.lines if status in _ENDED else self.lines[:-1]
            new, self.num_shown = complete[self.num_shown :], max(self.num_shown, len(complete))
            for line in new:
                if line.startswith(f"{self.stage}:"):  # the rest is Ray announcing itself
                    self.progress(line)
            if status in _ENDED or time.monotonic() > deadline:
                return status
            time.sleep(_POLL_SECONDS)


def _stage_error(
    client: JobSubmissionClient, job: str, stage: str, lines: list[str]
) -> SteRayError:
    # Ray folds every exit code to "failed"; the real one stands in the job's details.
    with _told_if_gone(stage):
        code = client.get_job_info(job).driver_exit_code
    said = [line for line in lines if line.startswith("error:")] or [
        line for line in lines if line.strip()
    ]
    reason = said[-1].removeprefix("error: ") if said else "it wrote nothing"
    message = f"stage {stage} failed with exit code {code}: {reason}"
    by_code: dict[Any, type[SteRayError]] = {2: UserError, 75: TemporaryError}
    return by_code.get(code, SteRayError)(message)


@contextmanager
def _peak_memory(cluster: LocalCluster) -> Iterator[list[int]]:
    """Sample the proportional memory of the cluster's processes; yield ``[peak bytes]``."""
    peak, stop = [0], Event()

    def sample() -> None:
        while True:
            peak[0] = max(peak[0], sum(map(_proportional_bytes, cluster.processes())))
            if stop.wait(_SAMPLE_SECONDS):
                return

    thread = Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _proportional_bytes(process: psutil.Process) -> int:
    """Memory with shared pages divided among their users (Linux), else the resident size."""
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", full.rss))
    except (psutil.Error, OSError):
        return 0

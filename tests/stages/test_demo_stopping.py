"""A demo that is interrupted lets the job end that is going on, and waits no longer than that."""

from __future__ import annotations

import time

import pytest
import requests
from ray.job_submission import JobStatus

from ste_ray.errors import TemporaryError
from ste_ray.process.stopping import StoppedError
from ste_ray.stages import demo


class Client:
    """Stands in for Ray's job client: a job that ends some looks after it was told to."""

    def __init__(self, looks_to_end=2, broken="", error=None):
        self.looks, self.broken = looks_to_end, broken
        self.error = error or requests.exceptions.ConnectionError("the head is gone")
        self.stopped = []

    def _reach(self, what):
        if what == self.broken:
            raise self.error

    def submit_job(self, entrypoint):
        self._reach("submit")
        return "job"

    def get_job_status(self, job):
        self._reach("status")
        if self.stopped:
            self.looks -= 1
        return JobStatus.STOPPED if self.stopped and self.looks <= 0 else JobStatus.RUNNING

    def get_job_logs(self, job):
        self._reach("logs")
        return "train: step 1\n" + ("train: a checkpoint is kept\n" if self.stopped else "")

    def stop_job(self, job):
        self._reach("stop")
        self.stopped.append(job)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(demo, "_POLL_SECONDS", 0.0)


def interrupted(client, error, at=("train: step 1",)):
    """Run a job and interrupt it at some lines that it writes; return all that was said."""
    said = []

    def progress(line):
        said.append(line)
        if line in at:
            raise error

    with pytest.raises(type(error)):
        demo._run_job(client, "train", "true", progress)
    return said


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StoppedError(75)])
def test_the_job_is_told_to_end_and_waited_for(error):
    client = Client()
    said = interrupted(client, error)
    assert client.stopped == ["job"]
    assert client.looks == 0
    assert said[0] == "train: step 1"
    assert said[1].startswith("demo: stopping train, which keeps what it has made")
    assert "train: a checkpoint is kept" in said


def test_another_ctrl_c_ends_it_at_once():
    client = Client(looks_to_end=10**9)
    lines = ("train: step 1", "train: a checkpoint is kept")  # the second comes while it ends
    assert interrupted(client, KeyboardInterrupt(), lines)[-1] == lines[1]
    assert client.looks == 10**9 - 1


def test_a_job_that_does_not_end_is_waited_for_so_long_only(monkeypatch):
    monkeypatch.setattr(demo, "_STOP_SECONDS", 0.3)
    started = time.monotonic()
    interrupted(Client(looks_to_end=10**9), KeyboardInterrupt())
    assert 0.3 <= time.monotonic() - started < 20


def test_a_head_that_is_gone_needs_no_stopping():
    assert len(interrupted(Client(broken="stop"), KeyboardInterrupt())) == 2


@pytest.mark.parametrize("broken", ["submit", "status", "logs"])
@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.ConnectionError("the head is gone"),
        requests.exceptions.ChunkedEncodingError("the head is gone"),
        requests.exceptions.ReadTimeout("the head is gone"),
        RuntimeError("the head is gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_head_that_goes_meanwhile_is_a_reason_to_try_again(broken, error):
    with pytest.raises(TemporaryError, match=r"during train \(the head is gone\); run the command"):
        demo._run_job(Client(broken=broken, error=error), "train", "true", lambda _: None)


def test_a_head_that_answers_nobody_is_a_reason_to_try_again():
    class Gone:
        dashboard_url, headers = "http://127.0.0.1:9", {}

    with pytest.raises(TemporaryError, match="stopped answering during its start"):
        demo._client(Gone())


def test_a_reader_that_has_gone_is_not_taken_for_the_head():
    def progress(line):
        raise BrokenPipeError("nobody reads this")

    with pytest.raises(BrokenPipeError):
        demo._run_job(Client(), "train", "true", progress)

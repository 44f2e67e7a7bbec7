"""Slow work is not stuck work: what makes steps may take as long as it likes."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ste_ray.errors import TemporaryError
from ste_ray.stages.infer import watching
from ste_ray.stages.infer.watching import Watch


class Looks:
    """A clock that is forty seconds later after every look."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.looked = threading.Semaphore(0)

    def now(self) -> float:
        return self.seconds

    def look(self) -> None:
        self.seconds += 40
        self.looked.release()


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_LOOK_SECONDS", 0.01)


def watch(looks: Looks) -> Watch:
    return Watch("setting 'base/icl'", 60.0, looks.look, looks.now)


def test_work_that_makes_steps_is_waited_for() -> None:
    looks = Looks()
    watched = watch(looks)

    def decode() -> str:
        for _ in range(5):
            looks.looked.acquire()
            watched.step()
        return "done"

    assert asyncio.run(watched.run(decode)) == "done"
    assert looks.seconds >= 200


def test_work_without_a_step_is_given_up() -> None:
    looks, never = Looks(), threading.Event()
    with pytest.raises(TemporaryError, match=r"'base/icl': no token for 60 s.*stall_seconds"):
        asyncio.run(watch(looks).run(never.wait))
    never.set()


def test_an_error_of_the_work_is_raised() -> None:
    def fail(what: str) -> None:
        raise KeyError(what)

    with pytest.raises(KeyError, match="here"):
        asyncio.run(watch(Looks()).run(fail, "here"))

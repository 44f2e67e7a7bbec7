"""SIGTERM stays this process's while Ray starts, whatever becomes of the start."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest
import ray

from ste_ray.stages.cluster.ray_internals import own_sigterm

_NO_NATIVE_STACK = "RAY_DISABLE_FAILURE_SIGNAL_HANDLER"


def ours(*_: object) -> None:
    """What this process does on SIGTERM."""


def rays(*_: object) -> None:
    """What Ray would do."""


@pytest.fixture
def _our_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, ours)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("_our_handler")
def test_ray_sets_no_handler_of_its_own_while_it_starts() -> None:
    with own_sigterm():
        ray._private.utils.set_sigterm_handler(rays)  # as ray.init does
        assert signal.getsignal(signal.SIGTERM) is ours
        assert os.environ[_NO_NATIVE_STACK] == "1"
    ray._private.utils.set_sigterm_handler(rays)
    assert signal.getsignal(signal.SIGTERM) is rays


@pytest.mark.usefixtures("_our_handler")
@pytest.mark.parametrize("before", [None, "0"])
def test_all_is_as_before_when_the_start_fails(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv(_NO_NATIVE_STACK, raising=False)
    if before is not None:
        monkeypatch.setenv(_NO_NATIVE_STACK, before)
    with suppress(ConnectionError), own_sigterm():
        signal.signal(signal.SIGTERM, rays)
        raise ConnectionError
    assert signal.getsignal(signal.SIGTERM) is ours
    assert os.environ.get(_NO_NATIVE_STACK) == before

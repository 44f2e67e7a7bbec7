"""What Ray 2.60 does or tells only in parts it calls private: all of it stands here, with why.

Another version may name it differently; ``tests/test_public_interfaces.py`` keeps other modules
off.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.experimental.internal_kv import _internal_kv_get

_AUTOSCALER_STATUS = "__autoscaling_status"
_EXECUTION_SECONDS = 30.0  # in which a thread of Ray Data ends that was told to
_NO_NATIVE_STACK = "RAY_DISABLE_FAILURE_SIGNAL_HANDLER"


@contextmanager
def own_sigterm() -> Iterator[None]:
    """Keep SIGTERM as it is while Ray starts, which would print a native stack and exit by its own.

    ``ray.init`` sets a handler of its own in the main thread and has no option against it; setting
    ours anew afterwards leaves the seconds in which Ray starts. In another thread it sets none, but
    what it starts there ends with that thread. What Ray has started by then ends by itself when
    this process is gone.
    """
    sigterm = signal.getsignal(signal.SIGTERM)
    before = os.environ.get(_NO_NATIVE_STACK)
    utils: Any = ray._private.utils
    set_handler = utils.set_sigterm_handler
    os.environ[_NO_NATIVE_STACK] = "1"
    utils.set_sigterm_handler = lambda _: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = set_handler
        os.environ.pop(_NO_NATIVE_STACK, None)
        if before is not None:
            os.environ[_NO_NATIVE_STACK] = before
        signal.signal(signal.SIGTERM, sigterm or signal.SIG_DFL)


def end_executions() -> None:
    """End what Ray Data still runs.

    Whatever interrupted a stage may hold the iterator, which then goes on; and a thread of it that
    reaches for a Ray that has been shut down ends this process, with exit code 1. To close the
    iterator is not enough: that waits two seconds for the thread, and a stop that comes while an
    execution is being started leaves none to close. Nothing public lists executions.
    """
    from ray.data._internal.execution.streaming_executor import StreamingExecutor

    for thread in threading.enumerate():
        if isinstance(thread, StreamingExecutor):
            thread.shutdown(force=True)
            thread.join(_EXECUTION_SECONDS)


def promised_resources() -> Mapping[str, float]:
    """Return the most of each resource that the autoscaler may bring; nothing where it says none.

    ``ray.cluster_resources`` knows only the nodes that are there.
    """
    return ray._private.state.state.get_max_resources_from_cluster_config() or {}


def has_new_autoscaler() -> bool:
    """Whether the autoscaler of version 2 looks after the cluster; it writes no report."""
    return bool(is_autoscaler_v2(fetch_from_server=True))


def autoscaler_report() -> bytes | None:
    """Return the JSON that the autoscaler of version 1 last left; None without one.

    ``ray status`` prints it; the state API (``ray.util.state``) does not hold it.
    """
    report: bytes | None = _internal_kv_get(_AUTOSCALER_STATUS)
    return report

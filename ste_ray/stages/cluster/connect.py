"""Joins the Ray cluster of ``RAY_ADDRESS``, or starts a private one inside this process."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from ste_ray.errors import ConfigError, TemporaryError
from ste_ray.process import stopping
from ste_ray.process.scratch import ScratchFolder

_TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
# On a busy machine Ray's own processes can take longer than the 30 s Ray waits by default.
START_WAIT = {"RAY_raylet_start_wait_time_s": "120"}
# Ray Data ends whatever hands on no block for half an hour. Slow work is not stuck work: a batch on
# a busy machine, an endpoint that answers slowly or a worker that waits for a node may take longer.
_NO_LIMIT = -1
_EXECUTION_SECONDS = 30.0  # in which a thread of Ray Data ends that was told to
_NO_NATIVE_STACK = "RAY_DISABLE_FAILURE_SIGNAL_HANDLER"


@contextmanager
def ray_connection(address: str | None = None) -> Iterator[None]:
    """Connect to ``address`` or ``RAY_ADDRESS``; without either, run Ray in this process' session.

    Raises:
        ConfigError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    for name, value in START_WAIT.items():
        os.environ.setdefault(name, value)
    address = address or os.environ.get("RAY_ADDRESS") or None
    sigterm = signal.getsignal(signal.SIGTERM)
    if address is None:
        # Unset, Ray may switch token authentication on by itself, depending on the user's home.
        mode = os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        if mode == "token" and not any(os.environ.get(name) for name in _TOKEN_VARIABLES):
            # As in the image, where no token is given: this Ray is nobody else's.
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        with ScratchFolder(prefix="ste-", dir="/tmp") as folder:
            _start_local(folder)
            with _connected(sigterm):
                yield
        return
    try:
        with _own_sigterm():
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"cannot join the Ray cluster at {address!r} ({reason}); check --address or "
            "RAY_ADDRESS, or unset it to run on this machine alone"
        ) from None
    with _connected(sigterm):
        yield


def _start_local(folder: str) -> None:
    try:
        with _own_sigterm():
            ray.init(
                address="local",
                num_cpus=max(4, os.cpu_count() or 1),
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=folder,
                _node_ip_address="127.0.0.1",
            )
    except Exception as error:  # Ray raises a bare Exception when its processes do not come up
        reason = " ".join(str(error).split())
        raise TemporaryError(f"Ray did not start on this machine: {reason[:300]}") from error


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep SIGTERM as it is while Ray starts, which would print a native stack and exit by its own.

    What Ray has started by then ends by itself when this process is gone.
    """
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


@contextmanager
def _connected(sigterm: Any) -> Iterator[None]:
    # Ray's own handler of SIGTERM prints a native stack; a stop must end the stage in order.
    signal.signal(signal.SIGTERM, sigterm or signal.SIG_DFL)
    stopping.working()
    data = ray.data.DataContext.get_current()
    data.enable_progress_bars = False
    data.print_on_execution_start = False
    # Wrapped by Ray Data, an error loses its cause on the way back to this process.
    data.raise_original_map_exception = True
    data.execution_no_progress_timeout_s = _NO_LIMIT
    # Ray Data and Ray Train tell their every step; what a stage says itself is what matters. What
    # ends Ray Data is raised here, and would be told twice with its internal stack.
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"ray\.")
    try:
        yield
    finally:
        _end_executions()
        ray.shutdown()


def _end_executions() -> None:
    """End what Ray Data still runs.

    Whatever interrupted a stage may hold the iterator, which then goes on; and a thread of it that
    reaches for a Ray that has been shut down ends this process, with exit code 1.
    """
    from ray.data._internal.execution.streaming_executor import StreamingExecutor

    for thread in threading.enumerate():
        if isinstance(thread, StreamingExecutor):
            thread.shutdown(force=True)
            thread.join(_EXECUTION_SECONDS)

"""Joins the Ray cluster of ``RAY_ADDRESS``, or starts a private one inside this process."""

from __future__ import annotations

import logging
import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from ste_ray.errors import ConfigError, TemporaryError
from ste_ray.process import stopping
from ste_ray.process.scratch import ScratchFolder
from ste_ray.stages.cluster.ray_internals import end_executions, own_sigterm

_TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
# On a busy machine Ray's own processes can take longer than the 30 s Ray waits by default.
START_WAIT = {"RAY_raylet_start_wait_time_s": "120"}
# Ray Data ends whatever hands on no block for half an hour. Slow work is not stuck work: a batch on
# a busy machine, an endpoint that answers slowly or a worker that waits for a node may take longer.
_NO_LIMIT = -1


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
    if address is None:
        # Unset, Ray may switch token authentication on by itself, depending on the user's home.
        mode = os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        if mode == "token" and not any(os.environ.get(name) for name in _TOKEN_VARIABLES):
            # As in the image, where no token is given: this Ray is nobody else's.
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        with ScratchFolder(prefix="ste-", dir="/tmp") as folder:
            _start_local(folder)
            with _connected():
                yield
        return
    try:
        with own_sigterm():
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"cannot join the Ray cluster at {address!r} ({reason}); check --address or "
            "RAY_ADDRESS, or unset it to run on this machine alone"
        ) from None
    with _connected():
        yield


def _start_local(folder: str) -> None:
    try:
        with own_sigterm():
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
def _connected() -> Iterator[None]:
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
        end_executions()
        ray.shutdown()

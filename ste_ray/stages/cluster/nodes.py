"""The nodes of a cluster: whether workers find a place on them, and which one an error is from."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from ste_ray.errors import ConfigError, EndpointError, ToolSpecError
from ste_ray.stages.cluster.ray_internals import (
    autoscaler_report,
    has_new_autoscaler,
    promised_resources,
)

_MAX_SHOWN = 4


@dataclass(frozen=True)
class Need:
    """What a stage reserves of the cluster.

    Attributes:
        setting: what asks for it, with its value, such as ``train.use_gpu=true``.
        workers: how many must run at the same time.
        cpus: of each.
        gpus: of each.
        remedy: what to set otherwise.
    """

    setting: str
    workers: int
    cpus: float
    gpus: float
    remedy: str


def require_place(need: Need) -> None:
    """Check that the nodes of the cluster have room for workers, whoever is there now.

    Where an autoscaler may bring nodes, or none with a CPU is there yet, nothing is refused.

    Raises:
        ConfigError: the workers would wait for ever; says what the cluster has.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if fitting(need, nodes) >= need.workers or _may_grow(nodes):
        return
    each = f"{need.cpus:g} CPUs" + (f" and {need.gpus:g} GPUs" if need.gpus else "")
    one = "one worker" if need.workers == 1 else f"{need.workers} workers"
    raise ConfigError(
        f"{need.setting} needs {each} on a node for {one} at once, but the Ray cluster has "
        f"{_described(nodes)}, and nothing that adds nodes; {need.remedy}"
    )


def fitting(need: Need, nodes: Sequence[Mapping[str, float]]) -> int:
    """Return how many workers the nodes have room for; at most those that are needed."""
    total = 0
    for node in nodes:
        places = [
            int(node.get(name, 0.0) / amount + 1e-6)  # thirds of a CPU do not add up
            for name, amount in (("CPU", need.cpus), ("GPU", need.gpus))
            if amount > 0
        ]
        total += min([need.workers, *places])
    return min(total, need.workers)


def _described(nodes: Sequence[Mapping[str, float]]) -> str:
    shown = [f"{node.get('CPU', 0.0):g} CPUs and {node.get('GPU', 0.0):g} GPUs" for node in nodes]
    more = [f"{len(shown) - _MAX_SHOWN} more"] if len(shown) > _MAX_SHOWN else []
    number = "1 node" if len(shown) == 1 else f"{len(shown)} nodes"
    return f"{number} ({'; '.join([*shown[:_MAX_SHOWN], *more])})"


def _may_grow(nodes: Sequence[Mapping[str, float]]) -> bool:
    """Whether an autoscaler looks after the cluster, as far as that can be seen."""
    if not any(node.get("CPU", 0.0) for node in nodes):
        return True  # somebody must be waiting to be asked for nodes
    return bool(
        promised_resources() or has_new_autoscaler() or names_node_types(autoscaler_report())
    )


def names_node_types(status: bytes | None) -> bool:
    """Whether a report of the autoscaler knows kinds of nodes, as one that can add them does.

    A cluster of fixed nodes has a monitor too, which makes up a kind of its own for each node.
    """
    try:
        report: Any = json.loads(status or b"{}").get("autoscaler_report") or {}
        kinds = {*(report.get("active_nodes") or {}), *(report.get("pending_launches") or {})}
    except (ValueError, AttributeError, TypeError):
        return False
    return any(not str(kind).startswith("node_") for kind in kinds)


@contextmanager
def naming_node() -> Iterator[None]:
    """Name this node in errors about what it may lack and others have: a secret, a key, a file.

    Where there is no other node, nothing is added.
    """
    try:
        yield
    except (ToolSpecError, ConfigError, EndpointError) as error:
        if sum(node["Alive"] for node in ray.nodes()) == 1:
            raise
        where = f"{socket.gethostname()!r} ({ray.util.get_node_ip_address()})"
        raise type(error)(
            f"{error} (said by the node {where}; each node of the cluster needs the same secrets, "
            "keys and files)"
        ) from error

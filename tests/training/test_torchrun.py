"""The train stage under torchrun, without Ray."""

import json
import os
import subprocess
import sys

import pytest
import torch

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.toolkens import TOOLKENS_FILE
from ste_ray.stages.train.torchrun import _start as start
from ste_ray.store.manifest import StageManifest, read_manifest, write_manifest
from ste_ray.training.figures import StepRecord
from tests.training.native_runs import SECTION as NATIVE_SECTION
from tests.training.native_runs import an_example, native_job, native_run, rows_of
from tests.training.training_runs import SECTION, job_of, losses, prepared, train


def torchrun(run, *overrides, section=SECTION):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    command += ["-m", "ste_ray.stages.train.torchrun", str(run), "seed=5"]
    settings = {name: value for name, value in section.items() if name != "model"}
    settings |= {f"model.{name}": value for name, value in section["model"].items()}
    command += [f"train.{name}={json.dumps(value)}" for name, value in settings.items()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *overrides], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def run(tmp_path):
    context, _ = prepared(tmp_path / "run")
    return finished(context.store)


def finished(store):
    """Let ``prepare`` be complete."""
    done = StageManifest(
        stage="prepare",
        config={},
        config_fingerprint="p",
        inputs={},
        code_version="0",
        started_at=0.0,
        seconds=1.0,
        counts={},
        seed=5,
    )
    write_manifest(store, done)
    return store


def test_two_processes_train_as_one_does_and_say_so(tmp_path, run):
    done = torchrun(run.uri)
    assert done.returncode == 0, done.stderr
    assert "train: step 6/6 loss" in done.stderr
    manifest = read_manifest(run, "train")
    assert manifest.counts["workers"] == 2
    assert manifest.counts["rows"] == 40
    records = [StepRecord(**record) for record in run.read_json(layout.TRAIN_METRICS)]
    expected, _ = train(job_of(tmp_path / "alone"))
    torch.testing.assert_close(losses(records), losses(expected), atol=1e-5, rtol=1e-5)
    again = torchrun(run.uri)
    assert again.returncode == 0, again.stderr
    assert "already complete" in again.stderr


def test_two_processes_train_native_rows_as_one_does(tmp_path):
    rows = [row for number in range(6) for row in rows_of(an_example(number, f"word{number}"))]
    section = {**SECTION, **NATIVE_SECTION, "max_steps": 3, "batch_tokens": 4096}
    expected, _ = train(native_job(tmp_path / "alone", rows, **section)[0])
    store = finished(native_run(tmp_path / "run", rows).store)
    done = torchrun(store.uri, section=section)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(store, "train")
    assert manifest.counts["workers"] == 2
    assert manifest.config["train"]["format"] == "native"
    records = [StepRecord(**record) for record in store.read_json(layout.TRAIN_METRICS)]
    torch.testing.assert_close(losses(records), losses(expected), atol=1e-4, rtol=1e-4)
    template = store.read_bytes(f"{layout.TUNED_MODEL}/chat_template.jinja").decode()
    assert "<tool_call>" in template
    assert not store.exists(f"{layout.TUNED_MODEL}/{TOOLKENS_FILE}")


def test_a_mistake_is_one_line_and_nobody_waits_for_ever(run):
    # Behind an option, where overrides may stand too.
    done = torchrun(run.uri, "--config", "jobs/tiny.yaml", "train.model.base=./none")
    assert done.returncode != 0
    assert "train.model.base='./none' is no folder" in done.stderr
    assert "exitcode  : 2" in done.stderr


@pytest.mark.parametrize(("omp", "asked", "threads"), [("1", 3, 3), (None, 1, 1), ("2", 1, 2)])
def test_threads_are_those_asked_for_or_else_the_environments(monkeypatch, omp, asked, threads):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if omp:
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)  # as torch begins with OMP_NUM_THREADS=2
        start(Config.model_validate({"train": {"threads_per_worker": asked}}))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)

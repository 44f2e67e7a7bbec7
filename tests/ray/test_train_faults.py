"""Trainings on Ray that lose a worker, or all of it, and go on as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
import torch

from ste_ray.core import layout
from ste_ray.errors import TemporaryError
from ste_ray.stages.cluster.drain import is_worker
from ste_ray.stages.train import stage as train
from ste_ray.stages.train.inputs import lay_out
from ste_ray.stages.train.shards import _part_groups, write_shards_by_ray, write_shards_here
from ste_ray.training.figures import StepRecord
from tests.training.native_runs import an_example, native_job, other_rows, rows_of
from tests.training.ranks import TwoRanks
from tests.training.training_runs import SECTION, job_of, losses, prepared
from tests.training.training_runs import train as train_here

SLOWLY = {"checkpoint_seconds": 0, "max_steps": 12}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The records of two ranks that nobody disturbs."""
    ranks = TwoRanks()
    job = job_of(tmp_path_factory.mktemp("undisturbed"), **SLOWLY)
    records, _ = ranks.run(train_here, job)[0]
    ranks.close()
    return records


@pytest.fixture
def quick_reports(monkeypatch):
    """Let Ray Train's controller come by often, because every step reports a checkpoint."""
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")


def workers():
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any("RayTrainWorker" in part for part in process.info["cmdline"] or ()):
            found.append(process)
    return sorted(found, key=lambda process: process.pid)


def wait_for_checkpoint(folder, step, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done = sorted(folder.glob("train/checkpoints/step-*/complete.json"))
        if done and int(done[-1].parent.name.removeprefix("step-")) >= step:
            return
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint of step {step} within {seconds} s")


def records_of(folder):
    stored = json.loads((folder / layout.TRAIN_METRICS).read_text())
    return [StepRecord(**record) for record in stored]


def test_a_killed_worker_costs_the_steps_since_the_last_checkpoint(
    ray_cluster, quick_reports, tmp_path, undisturbed
):
    context, said = prepared(tmp_path, **SLOWLY)
    victim, titled = random.Random(11).randint(0, 1), []

    def kill():
        wait_for_checkpoint(tmp_path, 4)
        titled.extend(is_worker(process.cmdline()) for process in workers())
        workers()[victim].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    counts = train.run(context)
    killer.join()
    assert titled == [True, True]  # so a node that is about to be stopped finds them
    assert counts["num_steps"] == 12
    assert any("training failed" in note for note in context.notes)
    assert any("went on from step" in line for line in said)
    records = records_of(tmp_path)
    assert [record.step for record in records] == list(range(1, 13))
    assert torch.equal(losses(records), losses(undisturbed))


def test_a_stopped_training_loses_nothing(ray_cluster, tmp_path, undisturbed):
    # No checkpoint would be due for an hour: the one that is found was written by the stop.
    context, said = prepared(tmp_path, **SLOWLY | {"checkpoint_seconds": 3600})

    def stop(number, frame):
        raise TemporaryError("stopped by a signal")

    def send():
        deadline = time.monotonic() + 120
        while not any("step 1/12" in line for line in said) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(TemporaryError, match="stopped by a signal"):
            train.run(context)
    finally:
        sender.join()
        signal.signal(signal.SIGTERM, before)
    (complete,) = tmp_path.glob("train/checkpoints/step-*/complete.json")
    assert 2 <= int(complete.parent.name.removeprefix("step-")) < 12
    said.clear()
    train.run(context)
    assert any("going on from the checkpoint" in line for line in said)
    assert torch.equal(losses(records_of(tmp_path)), losses(undisturbed))


@pytest.mark.slow
def test_a_killed_driver_costs_as_little(tmp_path, undisturbed):
    prepared(tmp_path)
    # What prepare would have left behind.
    command = [sys.executable, "-c", STAGE, str(tmp_path), json.dumps({**SECTION, **SLOWLY})]
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "RAY_AUTH_MODE": "disabled",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    }
    environment.pop("RAY_ADDRESS", None)
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_for_checkpoint(tmp_path, random.Random(5).randint(2, 6))
    finally:
        family = psutil.Process(first.pid).children(recursive=True)
        first.send_signal(signal.SIGKILL)
        for process in family:
            process.kill()
        first.communicate()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "going on from the checkpoint of step" in again.stderr
    records = records_of(tmp_path)
    assert torch.equal(losses(records), losses(undisturbed))


STAGE = """
import json, sys
from ste_ray.config import Config
from ste_ray.stages import train
from ste_ray.stages.base import StageContext
from ste_ray.stages.cluster.connect import ray_connection
from ste_ray.store.artifacts import open_store

config = Config.model_validate({"seed": 5, "train": json.loads(sys.argv[2])})
say = lambda line: print(line, file=sys.stderr)
with ray_connection():
    train.run(StageContext(config=config, store=open_store(sys.argv[1]), progress=say))
"""


def test_ray_data_writes_the_shards_that_one_process_writes(ray_cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("ste_ray.training.shards.ROWS_PER_SHARD", 16)
    context, _ = prepared(tmp_path / "ray", too_long="truncate", max_tokens=70)
    by_ray = lay_out(context, write_shards_by_ray)
    context, _ = prepared(tmp_path / "here", too_long="truncate", max_tokens=70)
    here = lay_out(context, write_shards_here)
    assert len(here.split("train")) == 3
    assert by_ray.shards == here.shards
    assert by_ray.fingerprint == here.fingerprint
    for shard in here.shards:
        if shard.rows:
            assert by_ray.files.read_bytes(shard.path) == here.files.read_bytes(shard.path)
    assert any("truncated from the left" in note for note in context.notes)


def test_native_rows_of_two_partitions_are_those_of_one_process(ray_cluster, tmp_path, monkeypatch):
    """Which tools a row offers must not depend on the rows that are beside it."""
    rows = [row for number in range(12) for row in rows_of(an_example(number, f"word{number}"))]
    broken = rows[0].model_copy(update={"row_id": "broken", "response": "Action: none"})
    rows = [*rows, *other_rows(), broken]
    here, _ = native_job(tmp_path / "here", rows)
    monkeypatch.setattr("ste_ray.stages.train.shards._SPOOL_ROWS", 1)
    groups = []
    monkeypatch.setattr(
        "ste_ray.stages.train.shards._part_groups",
        lambda store: groups.append(_part_groups(store)) or groups[0],
    )
    by_ray, context = native_job(tmp_path / "ray", rows, write=write_shards_by_ray)
    assert [len(group) for group in groups[0]] == [1, 1]
    assert by_ray.shards == here.shards
    assert sum(shard.rows for shard in here.shards) == len(rows) - 1
    assert any("cannot be written" in note for note in context.notes)
    for shard in here.shards:
        assert by_ray.files.read_bytes(shard.path) == here.files.read_bytes(shard.path)

"""Trainings that are stopped and go on."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from ste_ray.core import layout
from ste_ray.errors import StageInputError
from ste_ray.store.artifacts import open_store
from ste_ray.training.checkpoints import latest_checkpoint
from ste_ray.training.job import Hooks
from ste_ray.training.rank import train_rank
from tests.training.training_runs import job_of, losses, train

EVERY_STEP = {"checkpoint_seconds": 0}


def weights_of(run):
    return AutoModelForCausalLM.from_pretrained(run / layout.TUNED_MODEL).state_dict()


def assert_same_model(first, second, exact):
    left, right = weights_of(first), weights_of(second)
    assert left.keys() == right.keys()
    for name, value in left.items():
        if exact:
            assert torch.equal(value, right[name]), name
        else:
            torch.testing.assert_close(value, right[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_a_stopped_training_goes_on_exactly(tmp_path, mode):
    section = {"mode": mode, "lora": {"dropout": 0.2}, **EVERY_STEP}
    expected, figures = train(job_of(tmp_path / "whole", **section))
    stop = random.Random(mode).randint(2, 5)

    job = job_of(tmp_path / "stopped", **section)
    first, nothing = train(job, stop_after=stop)
    assert nothing is None
    assert latest_checkpoint(job.files, job.fingerprint).step == stop - 1
    rest, again = train(job_of(tmp_path / "stopped", **section))
    assert [record.step for record in rest] == list(range(stop, 7))
    assert torch.equal(losses([*first[: stop - 1], *rest]), losses(expected))
    for name in ("train_loss", "validation_loss", "label_tokens", "num_steps"):
        assert again[name] == figures[name]
    assert_same_model(tmp_path / "whole", tmp_path / "stopped", exact=True)
    metrics = json.loads((tmp_path / "stopped/train/metrics.json").read_text())
    assert [record["step"] for record in metrics] == list(range(1, 7))


def test_it_goes_on_exactly_with_as_many_workers_and_closely_with_others(two_ranks, tmp_path):
    expected, _ = train(job_of(tmp_path / "whole", **EVERY_STEP))
    both = two_ranks.run(train, job_of(tmp_path / "both", **EVERY_STEP))[0][0]

    job = job_of(tmp_path / "same", **EVERY_STEP)
    first = two_ranks.run(train, job, 4)[0][0]
    rest = two_ranks.run(train, job)[0][0]
    assert [record.step for record in rest] == [4, 5, 6]
    assert torch.equal(losses([*first[:3], *rest]), losses(both))
    assert_same_model(tmp_path / "both", tmp_path / "same", exact=True)

    job = job_of(tmp_path / "changing", **EVERY_STEP)
    first = two_ranks.run(train, job, 3)[0][0]
    second, _ = train(job, stop_after=5)
    assert second[0].workers == 1
    third = two_ranks.run(train, job)[0][0]
    assert (second[0].step, third[0].step) == (3, 5)
    joined = [*first[:2], *second[:2], *third]
    torch.testing.assert_close(losses(joined), losses(expected), atol=1e-5, rtol=1e-5)
    assert_same_model(tmp_path / "whole", tmp_path / "changing", exact=False)


@pytest.mark.slow
def test_checkpoints_in_object_storage_are_as_good(two_ranks, tmp_path, s3_bucket, s3_environment):
    # The ranks' processes began before there was a bucket.
    names = [name for name in os.environ if name.startswith("AWS_")]
    two_ranks.run(set_environment, {name: os.environ[name] for name in names})
    expected = two_ranks.run(train, job_of(tmp_path / "whole", **EVERY_STEP))[0][0]
    uri = f"s3://{s3_bucket}/run"
    job = job_of(uri, **EVERY_STEP)
    first = two_ranks.run(train, job, 4)[0][0]
    rest = two_ranks.run(train, job)[0][0]
    assert torch.equal(losses([*first[:3], *rest]), losses(expected))
    open_store(uri).download_folder(layout.TUNED_MODEL, tmp_path / "copy/train/model")
    assert_same_model(tmp_path / "whole", tmp_path / "copy", exact=True)
    paths = open_store(uri).list("train")
    assert any(path.startswith("train/tensorboard/") for path in paths)
    assert layout.TRAIN_METRICS in paths


def set_environment(values):
    os.environ.update(values)


def folders(job):
    return sorted({path.split("/")[2] for path in job.files.list(layout.CHECKPOINTS)})


def test_only_the_last_two_are_kept(tmp_path):
    job = job_of(tmp_path, **EVERY_STEP)
    train(job)
    assert folders(job) == ["step-00000005", "step-00000006"]


def test_checkpoints_come_with_time_and_at_the_end(tmp_path):
    job = job_of(tmp_path, checkpoint_seconds=3600)
    train(job)
    assert folders(job) == ["step-00000006"]


def test_a_folder_without_its_marker_is_no_checkpoint(tmp_path):
    job = job_of(tmp_path, **EVERY_STEP)
    train(job, stop_after=4)
    assert latest_checkpoint(job.files, job.fingerprint).step == 3
    job.files.delete(f"{layout.CHECKPOINTS}/step-00000003/complete.json")
    assert latest_checkpoint(job.files, job.fingerprint).step == 2
    rest, _ = train(job)
    assert rest[0].step == 3


def test_the_checkpoint_of_another_training_is_refused_before_work_begins(tmp_path):
    job = job_of(tmp_path, **EVERY_STEP)
    train(job, stop_after=3)
    with pytest.raises(StageInputError, match=r"belongs to another training.*delete"):
        job_of(tmp_path, **EVERY_STEP, learning_rate=0.5)
    with pytest.raises(StageInputError, match="belongs to another training"):
        job_of(tmp_path, **EVERY_STEP, mode="lora")
    assert job_of(tmp_path, checkpoint_seconds=7, batch_tokens=512).fingerprint == job.fingerprint


def test_a_damaged_checkpoint_says_what_to_do(tmp_path):
    job = job_of(tmp_path, **EVERY_STEP)
    train(job, stop_after=3)
    folder = tmp_path / layout.CHECKPOINTS / "step-00000002"
    (shards,) = folder.glob("*.distcp")
    shards.write_bytes(shards.read_bytes()[:1000])
    with pytest.raises(StageInputError, match=r"step-00000002.*cannot be loaded.*delete"):
        train(job)
    (folder / "complete.json").write_text("{}")
    with pytest.raises(StageInputError, match=r"step-00000002.*cannot be read"):
        latest_checkpoint(job.files, job.fingerprint)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 8 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder):
    """Write a file that leaves no room; return its path."""
    path = Path(folder) / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path


def train_on_a_filling_disk(job, folder):
    """Fill the disk when the second checkpoint is saved, and stop after the fifth step."""
    warnings = []

    def on_checkpoint(saved):
        if saved.step == 2:
            fill(folder)

    def on_step(record):
        if record.step == 5:
            raise InterruptedError

    hooks = Hooks(on_step=on_step, on_checkpoint=on_checkpoint, warn=warnings.append)
    with pytest.raises(InterruptedError):
        train_rank(job, hooks)
    return warnings


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, small_disk):
    expected, _ = train(job_of(tmp_path / "whole", **EVERY_STEP))
    job = job_of(small_disk / "run", **EVERY_STEP)
    warnings = train_on_a_filling_disk(job, small_disk)
    assert len(warnings) == 2
    assert "the checkpoint of step 3 could not be saved" in warnings[0]
    assert "No space left" in warnings[0]
    (small_disk / "filler").unlink()
    assert folders(job) == ["step-00000001", "step-00000002"]
    rest, _ = train(job)
    assert [record.step for record in rest] == [3, 4, 5, 6]
    assert torch.equal(losses(rest), losses(expected)[2:])


def test_tensorboard_has_the_figures_of_each_step_once(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    job = job_of(tmp_path, **EVERY_STEP)
    train(job, stop_after=4)
    rest, _ = train(job)
    events = []
    for path in sorted((tmp_path / layout.TENSORBOARD).iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            # Length (8 bytes) and its checksum, the event, its checksum.
            size = int.from_bytes(data[at : at + 8], "little")
            events.append(Event.FromString(data[at + 12 : at + 12 + size]))
            at += 12 + size + 4
    losses_told = {
        event.step: value.simple_value
        for event in events
        for value in event.summary.value
        if value.tag == "train/loss"
    }
    assert sorted(losses_told) == [1, 2, 3, 4, 5, 6]
    assert losses_told[6] == pytest.approx(rest[-1].loss, rel=1e-6)
    # The second file hides what the first one says of the steps that were repeated.
    assert any(event.step == 4 and event.session_log.status for event in events)

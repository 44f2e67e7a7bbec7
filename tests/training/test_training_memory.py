"""Memory that runs out."""

import subprocess
import sys

import pytest
import torch

from ste_ray.errors import TrainingError
from ste_ray.training.loop import Trainer
from tests.training.training_runs import job_of, train

# The limit is set when all is imported and loaded, or those would meet it first.
SCRIPT = """
import resource, sys
import psutil, torch
torch.set_num_threads(1)
from ste_ray.training.loop import Trainer
from tests.training.training_runs import job_of, some_rows, train

rows = [row.model_copy(update={"row_id": f"{copy} {row.row_id}"})
        for copy in range(120) for row in some_rows()]
job = job_of(sys.argv[1], rows, examples_per_step=4000, batch_tokens=10**6,
             batching="grouped")  # where beginnings are shared, less is needed
whole = Trainer.run
def run(self, *arguments):
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + 150 * 2**20,) * 2)
    return whole(self, *arguments)
Trainer.run = run
try:
    train(job)
except Exception as error:
    print(type(error).__name__, error)
"""


def test_memory_that_runs_out_on_the_cpu_says_what_to_lower(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("TrainingError memory ran out while training on worker 0 of 1"), (
        done.stdout + done.stderr
    )
    assert "lower train.batch_tokens=1000000" in done.stdout
    assert done.stdout.count("\n") == 1


def test_what_has_been_done_already_is_not_advised(tmp_path, monkeypatch):
    def run(self, *arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Trainer, "run", run)
    with pytest.raises(TrainingError, match=r"Tried to allocate 2\.00 GiB") as caught:
        train(job_of(tmp_path / "one"))
    assert "set train.activation_checkpointing=true" in str(caught.value)
    assert "set train.mode=lora" in str(caught.value)
    with pytest.raises(TrainingError) as caught:
        train(job_of(tmp_path / "two", activation_checkpointing=True, mode="lora"))
    assert "activation_checkpointing" not in str(caught.value)
    assert "train.mode=lora" not in str(caught.value)

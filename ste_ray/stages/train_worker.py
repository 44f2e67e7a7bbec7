"""What each Ray Train worker does: load the base, add toolkens, train its share, export.

Workers share nothing but the run's store and the process group that Ray Train set up, so they may
stand on different nodes.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.util.queue import Queue
from transformers import AutoTokenizer

from ste_ray.config import TrainConfig
from ste_ray.store.artifacts import RunStore
from ste_ray.training.distributed import rank, shard_model, training_device
from ste_ray.training.export import export_model
from ste_ray.training.loop import StepRecord, Trainer
from ste_ray.training.model import load_model, num_parameters
from ste_ray.training.rows import read_rows
from ste_ray.training.toolkens import add_toolkens

TOKENISED_PATH = "train/tokenised"
BASE_PATH = "train/base"
MODEL_PATH = "train/model"
METRICS_PATH = "train/metrics.json"


@dataclass(frozen=True)
class TrainJob:
    """All that a worker needs to know.

    Attributes:
        store: the run's artifacts.
        config: the section ``train``.
        seed: of the batch plan.
        tools: names in the order of their toolkens.
        progress: takes step records, as dicts, for the person who waits.
    """

    store: RunStore
    config: TrainConfig
    seed: int
    tools: tuple[str, ...]
    progress: Queue


def train_worker(loop_config: dict[str, Any]) -> dict[str, Any]:
    """Run one worker of the TrainJob ``loop_config["job"]`` and return its counts.

    Raises:
        TrainingError: training cannot go on.
    """
    job: TrainJob = loop_config["job"]
    if not job.config.use_gpu:
        torch.set_num_threads(1)  # one worker a core; more threads would fight for them
    with tempfile.TemporaryDirectory(prefix="ste-ray-train-") as folder:
        return _train(job, Path(folder))


def _train(job: TrainJob, folder: Path) -> dict[str, Any]:
    store, config = job.store, job.config
    device = training_device(config.use_gpu)
    base = folder / "base"
    store.download_folder(BASE_PATH, base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = load_model(str(base))
    add_toolkens(model, tokenizer, job.tools, config.toolken_init)
    parameters = num_parameters(model)
    source = (store.filesystem, store.path(TOKENISED_PATH))
    trainer = Trainer(
        model=shard_model(model, device),
        rows=read_rows(*source, "train", config.max_tokens),
        validation_rows=read_rows(*source, "validation", config.max_tokens),
        config=config,
        seed=job.seed,
        pad_id=tokenizer.pad_token_id,
        device=device,
    )
    records: list[dict[str, Any]] = []

    def on_step(record: StepRecord) -> None:
        records.append(asdict(record))
        if record.step % config.log_every == 0 or record.step == record.num_steps:
            ray.train.report(asdict(record))
            if rank() == 0:
                job.progress.put_nowait(asdict(record))

    summary = trainer.run(on_step)
    export_model(model, tokenizer, folder / "model")
    if rank() == 0:
        store.upload_folder(folder / "model", MODEL_PATH)
        store.write_json(METRICS_PATH, records)
    return {**asdict(summary), "parameters": parameters}

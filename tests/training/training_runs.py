"""Runs that are prepared for training, base models of several architectures, and trainings."""

from __future__ import annotations

import os
import signal

import torch
import torch.multiprocessing as mp
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Qwen3Config,
    Qwen3MoeConfig,
)

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import TrainRow
from ste_ray.stages.base import StageContext
from ste_ray.stages.train.inputs import lay_out
from ste_ray.stages.train.shards import write_shards_here
from ste_ray.store.artifacts import open_store
from ste_ray.store.tables import write_records
from ste_ray.training.export import save_model
from ste_ray.training.job import Hooks
from ste_ray.training.rank import train_rank
from tests.training.conftest import TOOLS, make_row

SECTION = {
    "model": {"vocab_size": 400, "hidden_size": 32, "num_heads": 2, "max_positions": 256},
    "max_steps": 6,
    "examples_per_step": 7,
    "batch_tokens": 256,
    "learning_rate": 0.01,
    "warmup_fraction": 0.2,
    "weight_decay": 0.1,
    "max_grad_norm": 0.5,
    "max_tokens": 256,
}

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "attention_dropout": 0.0,
}
ARCHITECTURES = {
    "llama": LlamaConfig,
    # Windows shorter than the rows, so that they matter.
    "mistral": lambda **fields: MistralConfig(**fields, sliding_window=16),
    "qwen3": Qwen3Config,
    "gemma": GemmaConfig,
    "gemma3": lambda **fields: Gemma3TextConfig(
        **fields, sliding_window=16, layer_types=["sliding_attention", "full_attention"]
    ),
    "qwen3_moe": lambda **fields: Qwen3MoeConfig(
        **fields, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, mlp_only_layers=[]
    ),
}


def some_rows():
    """Forty-eight rows, eight of them for validation."""
    rows = [make_row(number) for number in range(40)]
    return [*rows, *(make_row(number, "validation") for number in range(40, 48))]


def prepared(uri, rows=None, tools=TOOLS, seed=5, trust_remote_code=False, **section):
    """Return the context of a run whose prepare stage made ``rows``, and the lines it says."""
    rows = some_rows() if rows is None else rows
    store = open_store(str(uri))
    half = len(rows) // 2
    write_records(store, "prepare/rows/part-00000.parquet", rows[:half], TrainRow)
    write_records(store, "prepare/rows/part-00001.parquet", rows[half:], TrainRow)
    store.write_json(
        layout.PREPARED_TOOLS, [{"name": n, "description": f"It tells {n}."} for n in tools]
    )
    shared = {"seed": seed, "trust_remote_code": trust_remote_code}
    config = Config.model_validate({**shared, "train": {**SECTION, **section}})
    said = []
    return StageContext(config=config, store=store, progress=said.append), said


def job_of(uri, rows=None, tools=TOOLS, seed=5, **section):
    """Return the laid out job of a prepared run."""
    context, _ = prepared(uri, rows, tools, seed, **section)
    return lay_out(context, write_shards_here)


def save_base(folder, tokenizer, architecture="llama", tied=True, **fields):
    """Save a model with random weights, wide enough that predictions differ; return the folder."""
    build = ARCHITECTURES[architecture]
    config = build(
        **{**SMALL, **fields}, vocab_size=len(tokenizer), tie_word_embeddings=tied, use_cache=False
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    save_model(model, tokenizer, folder)
    return folder


def train(job, stop_after=0):
    """Train in this process or group; return the step records and the figures.

    With ``stop_after``, an error ends it after so many steps.
    """
    records = []

    def on_step(record):
        records.append(record)
        if record.step == stop_after:
            raise InterruptedError("stopped by the test")

    try:
        figures = train_rank(job, Hooks(on_step=on_step))
    except InterruptedError:
        figures = None
    return records, figures


def train_until_killed(job, step):
    """Train in a process of its own, which is killed after ``step`` steps, whatever it is at."""
    context = mp.get_context("spawn")
    process = context.Process(target=_train_and_die, args=(job, step))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def _train_and_die(job, step):
    torch.set_num_threads(1)  # as in the tests, or sums would differ

    def on_step(record):
        if record.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    train_rank(job, Hooks(on_step=on_step))


def losses(records):
    """The figures that must not depend on how a step was computed."""
    return torch.tensor([(r.loss, r.grad_norm, r.validation_loss or 0.0) for r in records])

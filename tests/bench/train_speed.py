"""Useful tokens a CPU-second: this trainer beside padding each example to the limit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tables import Row
from train_data import MAX_TOKENS, VOCABULARY, mixed_rows, tool_call_rows
from transformers import LlamaConfig, LlamaForCausalLM

from ste_ray.training.batches import StepLoader
from ste_ray.training.config import TrainConfig
from ste_ray.training.distributed import shard_model
from ste_ray.training.examples import TokenisedRow
from ste_ray.training.loop import Trainer
from ste_ray.training.plan import BatchPlan
from ste_ray.training.shards import CachedShards

GOAL_MIX, GOAL_CALLS, GOAL_LOADER = 13.0, 55.0, 20.0
EXAMPLES_PER_STEP = 64
_STEPS = int(os.environ.get("STEPS", "3"))
_PADDED_EXAMPLES = int(os.environ.get("PADDED_EXAMPLES", "8"))
CPU = torch.device("cpu")


def build_model() -> LlamaForCausalLM:
    """Return the benchmark's model: hidden 256, 6 layers, fp32, untied."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=256,
            intermediate_size=688,
            num_hidden_layers=6,
            num_attention_heads=8,
            num_key_value_heads=8,
            max_position_embeddings=MAX_TOKENS,
            tie_word_embeddings=False,
            use_cache=False,
        )
    )


def make_trainer(model: object, rows: Sequence[TokenisedRow], batch_tokens: int = 4096) -> Trainer:
    """Return a trainer of one rank, or of this process's rank."""
    config = TrainConfig(examples_per_step=EXAMPLES_PER_STEP, max_steps=1000)
    return Trainer(model, make_loader(rows, batch_tokens), None, config, 0, CPU)


def make_loader(rows: Sequence[TokenisedRow], batch_tokens: int = 4096) -> StepLoader:
    """Return the loader of a training on these rows."""
    from ste_ray.training.distributed import num_ranks, rank

    plan = BatchPlan((len(rows),), EXAMPLES_PER_STEP, seed=0, max_steps=1000)
    return StepLoader(
        plan, CachedShards(lambda _: rows), batch_tokens, rank(), num_ranks(), pad_id=0
    )


def measure(folder: Path) -> list[Row]:
    """Measure the mix and tool calls alone, and the loader without a model."""
    torch.set_num_threads(1)
    rows = []
    for name, data, goal in (
        ("the mix", mixed_rows(4000), GOAL_MIX),
        ("tool calls alone", tool_call_rows(4000), GOAL_CALLS),
    ):
        padded = _mean_tokens(data) / _seconds_padded(data[:_PADDED_EXAMPLES])
        ours = _ours(data)
        rows.append(
            Row(
                f"useful tokens a CPU-second, {name}, beside padding to {MAX_TOKENS:,}",
                f"{ours / padded:.1f} × ({ours:,.0f} ÷ {padded:,.0f})",
                f"≥ {goal:.0f} ×",
                ours / padded >= goal,
            )
        )
        if name == "the mix":
            loading = _loader(data)
            rows.append(
                Row(
                    "loader and collator alone, beside training, the mix",
                    f"{loading / ours:,.0f} ×",
                    f"≥ {GOAL_LOADER:.0f} ×",
                    loading / ours >= GOAL_LOADER,
                )
            )
    return rows


def _tokens_per_second(work: Callable[[], int]) -> float:
    started = time.process_time()
    tokens = work()
    return tokens / (time.process_time() - started)


def _mean_tokens(rows: Sequence[TokenisedRow]) -> float:
    return sum(len(row.input_ids) for row in rows) / len(rows)


def _seconds_padded(rows: Sequence[TokenisedRow]) -> float:
    """Return CPU-seconds an example: forward and backward, one at a time, padded, all logits.

    An example costs the same whatever its length, so a few of them tell the price of all.
    """
    model = build_model().train()
    started = time.process_time()
    for row in rows:
        length = len(row.input_ids)
        input_ids = torch.zeros(1, MAX_TOKENS, dtype=torch.long)
        input_ids[0, :length] = torch.as_tensor(row.input_ids)
        labels = torch.full_like(input_ids, -100)
        labels[0, row.prompt_tokens : length] = input_ids[0, row.prompt_tokens : length]
        mask = torch.zeros_like(input_ids)
        mask[0, :length] = 1
        model(input_ids=input_ids, attention_mask=mask, labels=labels).loss.backward()
    return (time.process_time() - started) / len(rows)


def _ours(rows: Sequence[TokenisedRow]) -> float:
    """Whole optimiser steps of the trainer."""
    trainer = make_trainer(shard_model(build_model(), CPU), rows)
    trainer.train_step(0)

    def steps() -> int:
        return sum(trainer.train_step(step)[0].useful_tokens for step in range(1, 1 + _STEPS))

    return _tokens_per_second(steps)


def _loader(rows: Sequence[TokenisedRow]) -> float:
    loader = make_loader(rows)
    loader.load(0)
    return _tokens_per_second(lambda: sum(loader.load(step).useful_tokens for step in range(1, 60)))

"""Tokens a second and MFU of full fine-tuning on GPUs: packed rows, beside padding to the limit.

Under ``make bench-train PARTS=gpu`` it starts itself by torchrun on all GPUs of this machine; on
another one, copy the repository and run ``torchrun --nproc-per-node N tests/bench/train_gpu.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.functional import pad
from transformers import LlamaConfig, LlamaForCausalLM

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parents[1])]  # under torchrun, outside of the project

from tables import Row  # noqa: E402
from train_data import MAX_TOKENS, mixed_rows  # noqa: E402

from ste_ray.training.attention import use_packed_attention  # noqa: E402
from ste_ray.training.batches import MicroBatch, StepBatch, StepLoader, collate  # noqa: E402
from ste_ray.training.config import TrainConfig  # noqa: E402
from ste_ray.training.distributed import num_ranks, rank, shard_model  # noqa: E402
from ste_ray.training.examples import TokenisedRow  # noqa: E402
from ste_ray.training.figures import FlopCounter, StepRecord  # noqa: E402
from ste_ray.training.loop import Trainer  # noqa: E402
from ste_ray.training.plan import BatchPlan  # noqa: E402
from ste_ray.training.shards import CachedShards  # noqa: E402

GOAL_MFU = 0.45
_STEPS = int(os.environ.get("STEPS", "8"))
# Of the shapes of Llama 3.2 1B and Llama 3.1 8B, with the vocabulary of the former.
SIZES: dict[str, dict[str, int]] = {
    "1B": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "8B": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}
# name, precision, tokens of a pass, recompute activations, examples a step, padded to the limit
_RUNS = (
    ("1B", "mixed", 16384, False, 256, False),
    ("1B", "mixed", 16384, False, 64, True),
    ("8B", "bf16", 16384, True, 256, False),
    ("8B", "bf16", 16384, True, 32, True),
)


def measure(folder: Path) -> list[Row]:
    """Train models of two sizes on every GPU here; without one, say so and measure nothing."""
    if not torch.cuda.is_available():
        sys.stderr.write("gpu: there is no GPU here; this part is skipped\n")
        return []
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "gpu.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(torch.cuda.device_count()), __file__]
    subprocess.run(command, env={**os.environ, "OUT": str(out)}, check=True)
    return [Row(**row) for row in json.loads(out.read_text())]


def main() -> None:
    """Measure as one rank; rank 0 prints the rows, and writes them to the file ``OUT``."""
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl")
    rows: list[dict[str, Any]] = []
    name = torch.cuda.get_device_name()
    for size, precision, batch_tokens, recompute, examples, padded in _RUNS:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        try:
            records = _train(size, precision, batch_tokens, recompute, examples, padded)
        except torch.OutOfMemoryError as error:
            measured, mfu = f"out of memory ({str(error)[:80]})", None
        else:
            measured, mfu = _figures(records, padded)
        way = f"padded to {MAX_TOKENS:,}" if padded else "packed"
        goal = size == "8B" and not padded
        rows.append(
            {
                "figure": f"{size}, {precision}, {way}, {num_ranks()} × {name}",
                "measured": measured,
                "goal": f"≥ {GOAL_MFU:.0%} MFU" if goal else "",
                "met": mfu is not None and mfu >= GOAL_MFU if goal else None,
            }
        )
        if rank() == 0:
            sys.stdout.write(f"{rows[-1]}\n")
            sys.stdout.flush()
    if rank() == 0:
        out = Path(os.environ.get("OUT") or tempfile.mkstemp(suffix=".json")[1])
        out.write_text(json.dumps(rows))
    dist.destroy_process_group()


def _figures(records: list[StepRecord], padded: bool) -> tuple[str, float | None]:
    steady = records[2:]  # the first steps fill caches
    seconds = sum(record.seconds for record in steady)
    useful = sum(record.useful_tokens for record in steady) / seconds
    through = sum(record.tokens_per_second * record.seconds for record in steady) / seconds
    mfus = [record.mfu for record in steady if record.mfu is not None]
    mfu = sum(mfus) / len(mfus) if mfus else None
    peak = max(record.memory_bytes for record in steady) / 2**30
    shown = "unknown peak" if mfu is None else f"{mfu:.1%} MFU of useful tokens"
    return f"{useful:,.0f} useful tokens/s of {through:,.0f}, {shown}, {peak:.0f} GiB", mfu


def _train(
    size: str, precision: Any, batch_tokens: int, recompute: bool, examples: int, padded: bool
) -> list[StepRecord]:
    device = torch.device("cuda", torch.cuda.current_device())
    model = _build(size, torch.bfloat16 if precision == "bf16" else torch.float32)
    flops = FlopCounter(model)
    if not padded:
        use_packed_attention(model)
    sharded = shard_model(model, device, precision, activation_checkpointing=recompute)
    rows = mixed_rows(4000)
    plan = BatchPlan((len(rows),), examples, seed=0, max_steps=_STEPS)
    if padded:
        loader: StepLoader = PaddedLoader(plan, rows)
    else:
        loader = StepLoader(
            plan,
            CachedShards(lambda _: rows),
            batch_tokens,
            rank(),
            num_ranks(),
            pad_id=0,
            batching="packed",
        )
    config = TrainConfig(examples_per_step=examples, max_steps=_STEPS, use_gpu=True)
    trainer = Trainer(sharded, loader, None, config, 0, device, flops)
    records = []
    started = time.perf_counter()
    for step in range(_STEPS):
        records.append(trainer.train_step(step)[0])
        if time.perf_counter() - started > 120 and len(records) > 3:
            break
    loader.close()
    return records


class PaddedLoader(StepLoader):
    """Pads each example to the limit, one in a pass."""

    def __init__(self, plan: BatchPlan, rows: list[TokenisedRow]) -> None:
        super().__init__(
            plan, CachedShards(lambda _: rows), MAX_TOKENS, rank(), num_ranks(), pad_id=0
        )

    def load(self, step: int) -> StepBatch:
        """Make the batches of a step now."""
        grouped = super().load(step)
        rows = [self._shards.rows(place.shard)[place.row] for place in self.plan.rows_of_step(step)]
        batches = tuple(_padded(collate([row], 0)) for row in rows[rank() :: num_ranks()])
        return replace(grouped, micro_batches=batches, total_tokens=len(rows) * MAX_TOKENS)


def _padded(batch: MicroBatch) -> MicroBatch:
    room = (0, MAX_TOKENS - batch.input_ids.shape[1])
    return replace(
        batch, input_ids=pad(batch.input_ids, room), label_mask=pad(batch.label_mask, room)
    )


def _build(size: str, dtype: torch.dtype) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=128_256,
        max_position_embeddings=8192,
        tie_word_embeddings=size == "1B",
        use_cache=False,
        **SIZES[size],
    )
    with torch.device("cuda"):
        model = LlamaForCausalLM(config)
    return model.to(dtype)


if __name__ == "__main__":
    main()

"""What a second FSDP2 process costs, on the same steps of the same data."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tables import Row
from train_data import mixed_rows
from train_speed import CPU, build_model, make_trainer

from ste_ray.training.distributed import shard_model

GOAL = 0.85
_STEPS = int(os.environ.get("STEPS", "3"))


def measure(folder: Path) -> list[Row]:
    """Train on one process with one thread and with two, and on two processes."""
    folder.mkdir(parents=True)
    one = _run(folder, num_ranks=1, threads=1)
    threads = _run(folder, num_ranks=1, threads=2)
    two = _run(folder, num_ranks=2, threads=1)
    ratio = two["per_cpu_second"] / one["per_cpu_second"]
    return [
        Row(
            "useful tokens a CPU-second and rank, two processes beside one",
            f"{ratio:.2f} ({two['per_cpu_second']:,.0f} ÷ {one['per_cpu_second']:,.0f})",
            f"≥ {GOAL}",
            ratio >= GOAL,
        ),
        Row("wall time of a step, one process, one thread", f"{one['wall']:.1f} s"),
        Row("wall time of a step, one process, two threads", f"{threads['wall']:.1f} s"),
        Row(
            "wall time of a step, two processes",
            f"{two['wall']:.1f} s ({one['wall'] / two['wall']:.2f} × as fast as one)",
        ),
    ]


def _run(folder: Path, num_ranks: int, threads: int) -> dict[str, float]:
    """Return useful tokens a CPU-second of all ranks, and wall seconds a step."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_rank, (num_ranks, threads, port, folder), nprocs=num_ranks)
    results = [torch.load(folder / f"rank{rank}.pt") for rank in range(num_ranks)]
    cpu = sum(result["cpu"] for result in results)
    return {
        "per_cpu_second": results[0]["tokens"] / cpu,
        "wall": max(result["wall"] for result in results) / _STEPS,
    }


def _rank(rank: int, num_ranks: int, threads: int, port: int, folder: Path) -> None:
    torch.set_num_threads(threads)
    if num_ranks > 1:
        os.environ.update(
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
            RANK=str(rank),
            WORLD_SIZE=str(num_ranks),
        )
        dist.init_process_group("gloo")
    trainer = make_trainer(shard_model(build_model(), CPU), mixed_rows(4000))
    trainer.train_step(0)
    result: dict[str, Any] = {"tokens": 0}
    wall, cpu = time.perf_counter(), time.process_time()
    for step in range(1, 1 + _STEPS):
        result["tokens"] += trainer.train_step(step)[0].useful_tokens
    result |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    torch.save(result, folder / f"rank{rank}.pt")
    if num_ranks > 1:
        dist.destroy_process_group()

"""A million training rows tokenised and batched by Ray Data, beside a hundred thousand."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from tables import Row
from train_data import KINDS

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import Message, TrainRow
from ste_ray.stages.base import StageContext
from ste_ray.stages.cluster.connect import ray_connection
from ste_ray.stages.train.inputs import lay_out
from ste_ray.stages.train.shards import write_shards_by_ray
from ste_ray.store.artifacts import open_store
from ste_ray.store.tables import encode_records
from ste_ray.training.plan import BatchPlan

FEW, MANY = 100_000, int(os.environ.get("ROWS", "1000000"))
TOLERANCE = 0.15
_ROWS_PER_PART = 10_000
_WORDS = [f"{start}{end}" for start in "bdfgklmnprst" for end in ("a", "ero", "ist", "ung", "o")]


@dataclass
class Observed:
    """A layout: its seconds, the most memory of all processes, and what is left in shards."""

    seconds: float
    peak_mb: float
    driver_mb: float
    tokens: int


def measure(folder: Path) -> list[Row]:
    """Lay out few and many rows, each in a process of its own."""
    folder.mkdir(parents=True)
    few, many = _measured(folder / "few", FEW), _measured(folder / "many", MANY)
    rate = (MANY - FEW) / (many.seconds - few.seconds)
    growth = many.peak_mb / few.peak_mb
    return [
        Row(
            f"{MANY:,} rows tokenised and spread over shards",
            f"{rate:,.0f} rows/s, {rate * many.tokens / MANY:,.0f} tokens/s"
            f" ({many.seconds:.0f} s in all, with starting Ray)",
        ),
        Row(
            f"peak memory of all processes, {MANY:,} rows ÷ {FEW:,}",
            f"{growth:.2f} ({many.peak_mb:,.0f} MB ÷ {few.peak_mb:,.0f} MB)",
            f"≤ {1 + TOLERANCE}",
            growth <= 1 + TOLERANCE,
        ),
        Row(
            "the same of the driver",
            f"{many.driver_mb / few.driver_mb:.2f}"
            f" ({many.driver_mb:,.0f} MB ÷ {few.driver_mb:,.0f} MB)",
        ),
    ]


def _measured(run: Path, number: int) -> Observed:
    _write_rows(run, number)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_lay_out, args=(str(run), theirs))
    process.start()
    peak = _Peak(process.pid or 0)
    seconds, tokens = ours.recv()
    peak.stop()
    process.join()
    shutil.rmtree(run)
    return Observed(seconds, peak.total, peak.driver, tokens)


def _lay_out(run: str, connection: Any) -> None:
    config = Config.model_validate(
        {"train": {"model": {"vocab_size": 8000, "hidden_size": 64, "max_positions": 2048}}}
    )
    store = open_store(run)
    started = time.monotonic()
    with ray_connection():
        job = lay_out(StageContext(config, store, lambda line: None), write_shards_by_ray)
        seconds = time.monotonic() - started
    rows = sum(shard.rows for shard in job.split("train"))
    plan: BatchPlan = job.plan
    assert rows + sum(shard.skipped for shard in job.shards) == store.read_json("rows.json")
    assert len(plan.rows_of_step(plan.num_steps - 1)) > 0
    connection.send((seconds, sum(shard.tokens for shard in job.split("train"))))


class _Peak:
    """Watches the memory of a process and all below it, without what they share."""

    def __init__(self, pid: int) -> None:
        self.total = self.driver = 0.0
        self._process = psutil.Process(pid)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            sizes = []
            try:
                family = [self._process, *self._process.children(recursive=True)]
            except psutil.Error:
                continue
            for process in family:
                try:
                    info = process.memory_info()
                except psutil.Error:
                    continue
                sizes.append((info.rss - info.shared) / 2**20)
            self.driver = max(self.driver, sizes[0] if sizes else 0.0)
            self.total = max(self.total, sum(sizes))


def _write_rows(run: Path, number: int) -> None:
    """Write rows whose texts have about the lengths of the study's kinds."""
    store = open_store(str(run))
    rng = np.random.default_rng(0)
    total = sum(kind.share for kind in KINDS.values())
    shares = [kind.share / total for kind in KINDS.values()]
    written = 0
    for part in range(-(-number // _ROWS_PER_PART)):
        size = min(_ROWS_PER_PART, number - written)
        kinds = rng.choice(list(KINDS), size, p=shares)
        records = [_row(written + index, str(kind), rng) for index, kind in enumerate(kinds)]
        data, _ = encode_records(records, TrainRow)
        store.write_bytes(f"prepare/rows/part-{part:05d}.parquet", data)
        written += size
    store.write_json(layout.PREPARED_TOOLS, [{"name": "lookup", "description": "Looks it up."}])
    store.write_json("rows.json", written)


def _row(number: int, kind: str, rng: np.random.Generator) -> TrainRow:
    # A word and its space are about two tokens.
    lengths = KINDS[kind].lengths
    tokens = np.exp(np.interp(rng.random(), list(lengths), np.log(list(lengths.values()))))
    labels = KINDS[kind].labels
    words = rng.choice(_WORDS, max(8, int(tokens - labels) // 2)).tolist()
    return TrainRow.model_construct(
        row_id=f"row{number:08d}",
        example_id="",
        tool="lookup",
        kind="general" if kind == "general" else "tool_call",
        split="train",
        dialog_history=(Message(role="user", content=f"{number} {' '.join(words)}"),),
        response=f"Final Answer: {' '.join(words[: labels // 2])}",
    )

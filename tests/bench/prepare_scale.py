"""A million trials through prepare without models, beside a hundred thousand and a plain script."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from prepare_data import NUM_TOOLS, write_exploration
from tables import Row

FEW, MANY = 100_000, int(os.environ.get("TRIALS", "1000000"))
TOLERANCE = 0.15
_HERE = Path(__file__).parent
_NO_MODELS = ("prepare.judge=false", "prepare.max_paraphrases=0")


@dataclass
class Observed:
    """A run: seconds of the whole command, and the most memory."""

    seconds: float
    peak_mb: float
    peak_worker_mb: float


def measure(folder: Path) -> list[Row]:
    """Prepare few and many trials of the same number of tools; run the plain script on the few."""
    folder.mkdir(parents=True)
    few_run, many_run = folder / "few", folder / "many"
    write_exploration(few_run, FEW)
    plain = _plain(few_run)
    few = _prepare(few_run)
    shutil.rmtree(few_run)
    write_exploration(many_run, MANY)
    many = _prepare(many_run)
    counts = json.loads((many_run / "prepare/manifest.json").read_text())["counts"]
    assert counts["ledger"] == MANY, counts
    # What more trials take more: starting Ray and its workers takes as long for few as for many.
    rate = (MANY - FEW) / (many.seconds - few.seconds)
    plain_rate = FEW / plain
    growth, worker = many.peak_mb / few.peak_mb, many.peak_worker_mb / few.peak_worker_mb
    return [
        Row(
            f"{MANY:,} trials of {NUM_TOOLS} tools: select, deduplicate, split, format",
            f"{rate:,.0f} trials/s ({many.seconds:.0f} s in all, with starting Ray)",
        ),
        Row(
            "beside a plain pandas/pyarrow script in one process",
            f"{plain_rate:,.0f} trials/s: {rate / plain_rate:.2f} ×",
        ),
        Row(
            f"peak memory of all processes, {MANY:,} trials ÷ {FEW:,}",
            f"{growth:.2f} ({many.peak_mb:,.0f} MB ÷ {few.peak_mb:,.0f} MB)",
            f"≤ {1 + TOLERANCE}",
            growth <= 1 + TOLERANCE,
        ),
        Row(
            "the same of the largest worker",
            f"{worker:.2f} ({many.peak_worker_mb:.0f} MB ÷ {few.peak_worker_mb:.0f} MB)",
        ),
    ]


def _plain(run: Path) -> float:
    """Return the seconds of the plain script, without importing its libraries."""
    script = (
        "import sys, time; from pathlib import Path; from prepare_plain import main; "
        "started = time.monotonic(); main(Path(sys.argv[1])); print(time.monotonic() - started)"
    )
    command = [sys.executable, "-c", script, str(run)]
    done = subprocess.run(command, cwd=_HERE, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _prepare(run: Path) -> Observed:
    command = [sys.executable, "-m", "ste_ray", "prepare", "--run", str(run), *_NO_MODELS]
    started, peak, peak_worker = time.monotonic(), 0.0, 0.0
    with (run / "said.txt").open("wb") as said:
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        while driver.poll() is None:
            total, worker = _memory(driver.pid)
            peak, peak_worker = max(peak, total), max(peak_worker, worker)
            time.sleep(0.2)
    if driver.returncode:
        raise RuntimeError(f"preparing failed: {(run / 'said.txt').read_text()[-500:]}")
    return Observed(time.monotonic() - started, peak, peak_worker)


def _processes(driver: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(driver)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _memory(driver: int) -> tuple[float, float]:
    """Return MB of all processes, and of the largest worker."""
    total = worker = 0.0
    for process in _processes(driver):
        try:
            # Without what is shared with other processes: Ray maps its object store into each.
            info = process.memory_info()
            megabytes = (info.rss - info.shared) / 2**20
            total += megabytes
            if "MapWorker" in " ".join(process.cmdline()):
                worker = max(worker, megabytes)
        except psutil.Error:  # it has ended meanwhile
            continue
    return total, worker

"""How much of a strict server's limit is used, and how often it refuses, with four explorers."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from harness import Teacher, by_name, fleet, generated_specs, teacher
from tables import Row

RATE = 50  # requests a second
LATENCY_SECONDS = 0.3
WARM_UP_SECONDS = 12.0
STEADY_SECONDS = float(os.environ.get("STEADY_SECONDS", "60"))
ADAPT_SECONDS = 10.0  # after the limit was halved
REPLY = "Thought: I know it.\nFinal Answer: It is stored."
NUM_EXPLORERS = 4


@dataclass(frozen=True)
class Load:
    """What bounds a run: requests of few tokens, or the tokens of long ones."""

    name: str
    tokens: int  # of one call
    rpm: int
    tpm: int


LOADS = (
    Load("requests", 150, RATE * 60, RATE * 60 * 100_000),
    Load("tokens", 900, RATE * 60 * 10, RATE * 60 * 900),
)


def measure(folder: Path) -> list[Row]:
    """Measure each way of knowing the limit under each load, before and after it is halved."""
    rows = []
    for load in LOADS:
        rows += _measure_one(folder / f"{load.name}-known", load, "known")
        rows += _measure_one(folder / f"{load.name}-headers", load, "headers")
        rows += _measure_one(folder / f"{load.name}-unknown", load, "unknown")
    return rows


def _measure_one(folder: Path, load: Load, how: str) -> list[Row]:
    options = ["--latency-seconds", str(LATENCY_SECONDS), "--fixed-reply", REPLY]
    options += ["--rpm", str(load.rpm), "--tpm", str(load.tpm)]
    options += ["--usage-tokens", str(load.tokens)]
    options += ["--rate-headers"] if how == "headers" else []
    overrides = [
        f"explore.num_explorers={NUM_EXPLORERS}",
        "explore.episodes_per_tool=1000000",
        "explore.trials_per_episode=4",
        "explore.long_term_memory=false",
        "explore.tools_per_explorer=100",
    ]
    if how == "known":
        limits = (load.rpm, load.tpm)
        overrides += [
            f"llm.requests_per_minute={limits[0]}",
            f"llm.tokens_per_minute={limits[1]}",
        ]
    specs = by_name(generated_specs(100 * NUM_EXPLORERS))
    with teacher(*options) as server, fleet(folder, specs, server.url, *overrides) as explorers:
        explorers.explore()
        before = _observe(server, load, WARM_UP_SECONDS)
        server.get("/limits", {"rpm": load.rpm / 2, "tpm": load.tpm / 2})
        after = _observe(server, load, ADAPT_SECONDS)
    return [
        _row(load, how, "", before, told=how != "unknown"),
        # A limit that was configured is wrong from here on: it must be found out.
        _row(load, how, ", after it was halved", after, told=how == "headers"),
    ]


def _observe(server: Teacher, load: Load, settle_seconds: float) -> tuple[float, float]:
    """Return the share of the limit that was used, and of requests that were refused."""
    time.sleep(settle_seconds)
    server.get("/stats/reset", {})
    time.sleep(STEADY_SECONDS)
    stats = server.get("/stats")
    bucket = stats["limits"][load.name]
    refused = sum(stats["refused"].values())
    return bucket["used"] / bucket["allowed"], refused / max(1, stats["requests"])


def _row(load: Load, how: str, when: str, observed: tuple[float, float], told: bool) -> Row:
    used, refused = observed
    goal = "≥ 99 % used, none refused" if told else "≥ 95 % used, ≤ 2 % refused"
    met = (used >= 0.99 and refused == 0) if told else (used >= 0.95 and refused <= 0.02)
    return Row(
        f"bound by {load.name}, limit {how}{when}",
        f"{used:.1%} used, {refused:.2%} refused",
        goal,
        met,
    )

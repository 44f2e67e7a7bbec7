"""The listing of a run, each artifact as the line of ``ste_ray.core.layout`` that describes it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ste_ray.core import layout

STAGES = "explore|prepare|retrieve|train|infer|evaluate|continual"
_WORDS = {"STAGE": f"(?:{STAGES})", "SPLIT": "(?:train|validation)"}

# What a run holds once all stages are complete. Runs must stay readable: nothing moves.
COMPLETE_RUN = {
    "evaluate/manifest.json",
    "evaluate/scores/SETTING/part-NNNNN.parquet",
    "evaluate/started.json",
    "evaluate/summary.json",
    "evaluate/undecided.jsonl",
    "explore/episodes/part-NNNNN.parquet",
    "explore/journal/",
    "explore/manifest.json",
    "explore/models.json",
    "explore/started.json",
    "explore/tools.json",
    "infer/manifest.json",
    "infer/predictions/SETTING/_complete",
    "infer/predictions/SETTING/part-NNNNN.parquet",
    "infer/started.json",
    "lock.json",
    "prepare/examples/part-NNNNN.parquet",
    "prepare/journal/part-NNNNN/",
    "prepare/judgments/part-NNNNN.parquet",
    "prepare/ledger/part-NNNNN.parquet",
    "prepare/manifest.json",
    "prepare/models.json",
    "prepare/rows/part-NNNNN.parquet",
    "prepare/started.json",
    "prepare/toolkens.json",
    "prepare/tools.json",
    "prepare/totals.json",
    "report.html",
    "retrieve/manifest.json",
    "retrieve/retrieved/part-NNNNN.parquet",
    "retrieve/started.json",
    "train/base.json",
    "train/base/",
    "train/checkpoints/step-NNNNNNNN/",
    "train/checkpoints/step-NNNNNNNN/complete.json",
    "train/manifest.json",
    "train/metrics.json",
    "train/model/",
    "train/plan.json",
    "train/shards/SPLIT-NNNNN.parquet",
    "train/started.json",
    "train/summary.json",
    "train/tensorboard/",
    "train/toolkens.json",
}


def described() -> list[str]:
    """Return the paths that the layout describes; what ends in a slash is a folder."""
    return [
        line.split()[0] for line in (layout.__doc__ or "").splitlines() if line.startswith("    ")
    ]


def lines_for(path: str) -> list[str]:
    """Return the lines that describe ``path``; a file within a folder also where that ends."""
    return [line for line in described() if _pattern(line).fullmatch(path)]


def listing(paths: Iterable[str]) -> set[str]:
    """Return a run's artifacts as lines of the layout; those of stages with the stage's name."""
    found = set()
    for path in paths:
        lines = lines_for(path)
        assert lines, f"{path} is not described in core/layout.py"
        line = max(lines, key=lambda one: (not one.endswith("/"), len(one)))
        found.add(path if line.startswith("STAGE/") else line)
    return found


def _pattern(line: str) -> re.Pattern[str]:
    pattern = re.escape(line)
    for word, what in _WORDS.items():
        pattern = pattern.replace(word, what)
    pattern = re.sub("SETTING|VARIANT", r"[a-z_-]+(?:\\.[a-z0-9_-]+)?", pattern)
    pattern = re.sub("N+", lambda number: rf"\d{{{len(number[0])}}}", pattern)
    return re.compile(pattern + (".+" if line.endswith("/") else ""))

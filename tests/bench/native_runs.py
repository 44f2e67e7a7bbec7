"""The runs of ``make bench-native``: two a seed, of one exploration, trained in either form."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ste_ray.core import layout
from ste_ray.errors import TemporaryError
from ste_ray.process.cpu import has_bf16_arithmetic
from ste_ray.process.output import say

NATIVE, TOOLKEN = "tuned_native/native", "tuned/toolken"
_ATTEMPTS = 5
_SHARED = ("explore", "prepare", "retrieve")
_QUICK = (
    "tools.include=[add_date, roman_encode, unit_convert]",
    "explore.episodes_per_tool=4",
    "prepare.target_per_tool=8",
    "prepare.max_paraphrases=1",
    "prepare.test_fraction=0.3",
    "prepare.no_call={general: 4, test: 3}",
    "train.examples_per_step=4",
    "train.num_workers=1",
)


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        model: the folder of the base model.
        seeds: of data and training.
        steps: of both trainings.
        tools: that a native prompt offers, in training and inference alike.
        runs: the folder of all runs.
        quick: whether all is done at the smallest sizes.
    """

    model: Path
    seeds: tuple[int, ...]
    steps: int
    tools: int
    runs: Path
    quick: bool

    def run(self, form: str, seed: int) -> Path:
        """Return the run of a form, ``toolken`` or ``native``."""
        return self.runs / f"bench-native-{form}-{seed}"

    def tuned(self, form: str, seed: int) -> Path:
        """Return the folder of the model that was trained in a form."""
        return self.run(form, seed) / layout.TUNED_MODEL


def ste_ray(*arguments: str, codes: Sequence[int] = (0,)) -> str:
    """Run a command, whose progress is shown; return what it printed.

    One that failed for now, as Ray does that starts too slowly on a busy machine, is run again.

    Raises:
        RuntimeError: it ended with another code than one of ``codes``.
    """
    for _ in range(_ATTEMPTS):
        say(f"bench: ste-ray {' '.join(arguments)}")
        done = subprocess.run(
            [sys.executable, "-m", "ste_ray", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != TemporaryError.exit_code:
            break
    if done.returncode not in codes:
        raise RuntimeError(f"ste-ray {arguments[0]} ended with code {done.returncode}")
    return done.stdout


def evaluated(plan: Plan, seed: int) -> dict[str, Any]:
    """Make what is missing of a seed's runs; return the evaluation of both models, paired."""
    toolken, native = plan.run("toolken", seed), plan.run("native", seed)
    common = _configuration(plan, seed)
    for stage in _SHARED:
        ste_ray(stage, "--run", str(toolken), *common)
    ste_ray("import", "run", str(toolken), "--run", str(native))
    ste_ray("train", "--run", str(toolken), *common)
    ste_ray("train", "--run", str(native), *common, "train.format=native")
    models = json.dumps({NATIVE.partition("/")[0]: str(plan.tuned("native", seed))})
    asked = [f"infer.models={models}", f"infer.settings=[{NATIVE}, {TOOLKEN}]"]
    for stage in ("infer", "evaluate"):
        ste_ray(stage, "--run", str(toolken), *common, *asked)
    summary: dict[str, Any] = json.loads((toolken / layout.EVALUATION_SUMMARY).read_text("utf-8"))
    return summary


def trained(plan: Plan, form: str, seed: int) -> dict[str, Any]:
    """Return what the manifest of a training counts."""
    path = plan.run(form, seed) / layout.manifest("train")
    counts: dict[str, Any] = json.loads(path.read_text("utf-8"))["counts"]
    return counts


def _configuration(plan: Plan, seed: int) -> list[str]:
    """Return the arguments of all stages: the demo's, with what both forms need alike."""
    precision = ["train.precision=mixed"] if has_bf16_arithmetic() else []
    return [
        "--config",
        "jobs/demo.yaml",
        f"seed={seed}",
        f"train.model.base={json.dumps(str(plan.model))}",
        f"train.max_steps={plan.steps}",
        "train.max_tokens=2048",  # as long as any native row: both learn from the same
        "train.batch_tokens=4096",
        f"train.tools_per_row={plan.tools}",
        *precision,
        f"retrieve.num_tools={plan.tools}",
        "retrieve.num_demonstrations=0",
        "infer.execute=false",
        *(_QUICK if plan.quick else ()),
    ]

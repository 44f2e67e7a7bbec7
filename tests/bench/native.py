"""Toolkens beside native calls on the same data; the native model served; exploring in both forms.

``make bench-native SEEDS="7 8 9" STEPS=128 TOOLS=3 PARTS="compare served explore" MODEL=folder``.
Runs are kept below ``--runs``, so that a benchmark that was cut off goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from native_compare import compared
from native_explore import explored
from native_runs import Plan
from native_served import served
from tables import exit_code, print_machine, print_rows

from ste_ray.imports.packed_base import DEMO_BASE, fetch_base
from ste_ray.process.output import say

PARTS = {"compare": compared, "served": served, "explore": explored}


def main() -> int:
    """Measure the parts that are asked for, and print their tables."""
    plan, parts = _arguments()
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ.pop("RAY_ADDRESS", None)
    rows = []
    for part in parts:
        title, found = PARTS[part](plan)
        print_rows(title, found)
        rows += found
    print_machine("ray", "torch", "transformers", "openai")
    return exit_code(rows)


def _arguments() -> tuple[Plan, list[str]]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[7, 8, 9])
    parser.add_argument("--steps", type=int, default=128, help="of both trainings")
    parser.add_argument("--tools", type=int, default=3, help="that a native prompt offers")
    parser.add_argument("--model", type=Path, help="folder of the base (default: the demo's)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where they are kept")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes, to try it out")
    options = parser.parse_args()
    model = options.model or fetch_base(DEMO_BASE, Path(".models").resolve(), say)
    plan = Plan(
        model=model.resolve(),
        seeds=tuple(options.seeds),
        steps=options.steps,
        tools=options.tools,
        runs=options.runs.resolve(),
        quick=options.quick,
    )
    return plan, options.parts or list(PARTS)


if __name__ == "__main__":
    sys.exit(main())

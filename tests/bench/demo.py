"""The demo with several seeds of data and training: ``make bench-demo SEEDS="7 8 9"``.

Each seed is a demo of its own, one after the other: other trials, another split, another order of
training. Shares are of the requests whose phrasing and values no training row has.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tables import Row, exit_code, print_machine, print_rows

_SETTINGS = ("base/retrieved", "base/icl", "tuned/toolken")
_TUNED = "tuned/toolken"
_METRICS = ("wellformed", "tool_match", "correct")
_GOALS = {(_TUNED, "tool_match"): 97.0, (_TUNED, "correct"): 85.0}
_MOST_NEEDLESS = 3.0  # percent
_MOST_SECONDS, _MOST_TRAINING_SECONDS, _MOST_GIB = 12 * 60, 6 * 60, 8
_LEAST_REQUESTS, _LEAST_TOOLS = 60, 20

Demo = dict[str, Any]  # what ``ste-ray demo --json`` tells


def main() -> int:
    """Run the demos that are not there yet and print their tables."""
    parser = argparse.ArgumentParser(description="The demo with several seeds.")
    parser.add_argument("seeds", nargs="*", type=int, default=[7, 8, 9])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where they are kept")
    options = parser.parse_args()
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ.pop("RAY_ADDRESS", None)
    demos = [_demo(options.runs / f"bench-demo-{seed}", seed) for seed in options.seeds]
    seeds = ", ".join(map(str, options.seeds))
    rows: list[Row] = []
    for title, found in (
        (f"Shares of requests, in %: mean; seeds {seeds} (95 % intervals)", _shares(demos)),
        ("Requests that need no call", _restraint(demos)),
        ("Time and memory", _costs(demos)),
    ):
        print_rows(title, found)
        rows += found
    print_machine("ray", "torch", "transformers")
    return exit_code(rows)


def _demo(run: Path, seed: int) -> Demo:
    """Return what a demo tells, run now unless that is kept from before."""
    kept = run / "bench-demo.json"
    if not kept.exists():
        command = [sys.executable, "-m", "ste_ray", "demo", "--run", str(run), "--json"]
        told = subprocess.run([*command, f"seed={seed}"], stdout=subprocess.PIPE, check=True)
        kept.write_bytes(told.stdout)
    demo: Demo = json.loads(kept.read_text("utf-8"))
    return demo


def _of_setting(demo: Demo, setting: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = [one for one in demo["summary"]["settings"] if one["setting"] == setting]
    return found


def _shares(demos: Sequence[Demo]) -> list[Row]:
    rows = []
    for setting in _SETTINGS:
        for metric in _METRICS:
            found = [_of_setting(demo, setting)["unseen"][metric] for demo in demos]
            mean = 100 * sum(one["share"] for one in found) / len(found)
            goal = _GOALS.get((setting, metric))
            rows.append(
                Row(
                    f"{setting}, {metric.replace('_', ' ')}",
                    f"{mean:.1f}; {', '.join(map(_with_interval, found))}",
                    "" if goal is None else f"≥ {goal:.0f}",
                    None if goal is None else mean >= goal,
                )
            )
    novelties = [demo["summary"]["novelty"] for demo in demos]
    requests, tools = [one["both"] for one in novelties], [one["tools"] for one in novelties]
    enough = min(requests) >= _LEAST_REQUESTS and min(tools) >= _LEAST_TOOLS
    figure = f"{', '.join(map(str, requests))}; {', '.join(map(str, tools))}"
    return [*rows, Row("such requests; their tools", figure, "≥ 60; ≥ 20", enough)]


def _with_interval(found: dict[str, Any]) -> str:
    low, high = found["interval"]["low"], found["interval"]["high"]
    return f"{100 * found['share']:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def _restraint(demos: Sequence[Demo]) -> list[Row]:
    rows = []
    for setting in _SETTINGS:
        found = [_of_setting(demo, setting)["restraint"] for demo in demos]
        called = sum(one["needless_calls"]["count"] for one in found)
        asked = sum(one["n"] for one in found)
        share = 100 * called / asked
        tuned = setting == _TUNED
        rows.append(
            Row(
                f"{setting}, needless calls",
                f"{share:.1f} % ({called} of {asked})",
                f"≤ {_MOST_NEEDLESS:.0f} %" if tuned else "",
                share <= _MOST_NEEDLESS if tuned else None,
            )
        )
    return rows


def _costs(demos: Sequence[Demo]) -> list[Row]:
    whole = [sum(stage["seconds"] for stage in demo["stages"]) for demo in demos]
    peaks = [max(stage["peak_bytes"] for stage in demo["stages"]) / 2**30 for demo in demos]
    rows = [
        Row(
            "all stages, without installing and fetching the model",
            ", ".join(f"{one:.0f} s" for one in whole),
            f"≤ {_MOST_SECONDS} s",
            max(whole) <= _MOST_SECONDS,
        )
    ]
    for name in [stage["stage"] for stage in demos[0]["stages"]]:
        found = [
            stage["seconds"] for demo in demos for stage in demo["stages"] if stage["stage"] == name
        ]
        training = name == "train"
        rows.append(
            Row(
                name,
                ", ".join(f"{one:.0f} s" for one in found),
                f"≤ {_MOST_TRAINING_SECONDS} s" if training else "",
                max(found) <= _MOST_TRAINING_SECONDS if training else None,
            )
        )
    peak = ", ".join(f"{one:.1f} GiB" for one in peaks)
    return [*rows, Row("peak memory", peak, f"≤ {_MOST_GIB} GiB", max(peaks) <= _MOST_GIB)]


if __name__ == "__main__":
    sys.exit(main())

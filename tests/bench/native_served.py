"""The natively trained model behind ``transformers serve``, asked every test request."""

from __future__ import annotations

import json
from typing import Any

from native_runs import NATIVE, Plan, evaluated, ste_ray
from tables import Row

from ste_ray.llm.local_server import running_local_model


def served(plan: Plan) -> tuple[str, list[Row]]:
    """Serve each seed's native model and check it; return a title and the table."""
    rows = []
    for seed in plan.seeds:
        evaluated(plan, seed)
        for way in _checked(plan, seed):
            rows.append(_row(seed, way))
    title = "`transformers serve` beside `infer`: the native model's calls, asked by the openai SDK"
    return title, rows


def _checked(plan: Plan, seed: int) -> list[dict[str, Any]]:
    """Return what ``serve check`` tells of each way of asking."""
    folder, run = str(plan.tuned("native", seed)), str(plan.run("toolken", seed))
    with running_local_model(folder) as url:
        told = ste_ray(
            *(
                "serve",
                "check",
                url,
                "--run",
                run,
                "--setting",
                NATIVE,
                "--model",
                folder,
                "--json",
            ),
            codes=(0, 1),  # 1: calls differ, which the table says
        )
    ways: list[dict[str, Any]] = json.loads(told)["ways"]
    return ways


def _row(seed: int, way: dict[str, Any]) -> Row:
    same, right = way["same"], (way["right_recorded"], way["right_served"])
    how = "streamed" if way["streamed"] else "plain"
    return Row(
        f"seed {seed}, {how}: calls as recorded",
        f"{same['count']} of {same['of']}; right {right[0]['count']} recorded,"
        f" {right[1]['count']} served, of {right[1]['of']}; {way['errors']} errors",
        "all",
        same["count"] == same["of"] and not way["errors"],
    )

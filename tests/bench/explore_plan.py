"""The adaptive plan beside the fixed one: schema branches visited with as many episodes, paired."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from tables import Row

from ste_ray.config import Config, load_config
from ste_ray.core import layout
from ste_ray.llm.checking import check_endpoints
from ste_ray.resources import resource_folder
from ste_ray.runtime import segments
from ste_ray.runtime.clock import MonotonicClock
from ste_ray.simulated_provider.server import TeacherSettings, running_teacher
from ste_ray.stages.explore.coordinator import Coordinator, packed
from ste_ray.stages.explore.coverage_tally import CoverageTally
from ste_ray.stages.explore.explorer import Explorer
from ste_ray.stages.explore.messages import Status
from ste_ray.stages.explore.parts import sort_episodes
from ste_ray.stages.explore.rounds import rules_of
from ste_ray.stages.shared.limit_server import LimitServer
from ste_ray.stages.shared.model_session import Models
from ste_ray.stages.shared.tools import configure_tools
from ste_ray.store.artifacts import RunStore, open_store

SEEDS = tuple(map(int, os.environ.get("SEEDS", "7 8 9").split()))
EPISODES, TRIALS = 4, 2
# What the shipped descriptions leave to trial and error, listed as most schemas list it.
LISTED: Mapping[tuple[str, str], Sequence[Any]] = {
    ("calendar_convert", "cmd"): ["isl", "per", "heb"],
    ("check_digit", "scheme"): ["luhn", "verhoeff", "damm"],
    ("constellation", "body"): [
        *("Sun", "Moon", "Mercury", "Venus", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune"),
        "Pluto",
    ],
    ("date_difference", "unit"): ["d", "w", "m", "y"],
    ("flight_distance", "unit"): [1, 2, 3],
    ("isbn_convert", "to"): [10, 13],
    ("money_format", "currency"): ["CHF", "EUR", "GBP", "INR", "JPY", "MXN", "SEK", "USD"],
    ("money_format", "style"): ["std", "acc", "name"],
    ("moon_next", "phase"): ["new", "first", "full", "last"],
    ("phone_format", "fmt"): [0, 1, 2, 3],
    ("sun_times", "twilight"): ["civ", "nau", "ast"],
}
PLANS = {
    "fixed": (),
    "adaptive, silent": ("explore.plan=adaptive", "explore.suggest_unvisited=false"),
    "adaptive": ("explore.plan=adaptive",),
}
Counts = Mapping[str, Any]


def measure(folder: Path) -> list[Row]:
    """Explore all built-in tools by each plan with each seed, in turns."""
    folder.mkdir(parents=True)
    tools = _write_tools(folder / "tools.yaml")
    found: dict[str, list[Counts]] = {name: [] for name in PLANS}
    for seed in SEEDS:
        for name, options in PLANS.items():
            run = folder / f"{name.replace(', ', '-')}-{seed}"
            found[name].append(_explored(run, tools, seed, options))
    rows = [
        Row(f"{name}: {figure}", _listed(key, counts))
        for name, counts in found.items()
        for figure, key in (
            ("schema branches visited", "branches_visited"),
            ("different argument values", "argument_values"),
            ("episodes", "episodes"),
            ("tool calls", "tool_calls"),
            ("replies of the explorer", "replies_asked"),
        )
    ]
    rows.append(Row("schema branches known", str(found["fixed"][0]["branches_known"])))
    return [*rows, *_compared(found)]


def _compared(found: Mapping[str, Sequence[Counts]]) -> Iterator[Row]:
    known = found["fixed"][0]["branches_known"]
    for name in list(PLANS)[1:]:
        pairs = zip(found[name], found["fixed"], strict=True)
        gains = [100 * (a["branches_visited"] - b["branches_visited"]) / known for a, b in pairs]
        shown = ", ".join(f"{gain:+.1f}" for gain in gains)
        yield Row(
            f"{name} less fixed: points of branches visited, by seed",
            f"{fmean(gains):+.1f} ({shown})",
            "> 0 with every seed",
            min(gains) > 0,
        )


def _listed(key: str, counts: Sequence[Counts]) -> str:
    numbers = [one[key] for one in counts]
    return f"{fmean(numbers):,.1f} ({', '.join(f'{number:,}' for number in numbers)})"


def _write_tools(path: Path) -> Path:
    tools = []
    for file in sorted((resource_folder("tool_metadata") / "builtin").glob("*.yaml")):
        loaded = yaml.safe_load(file.read_text("utf-8"))
        for tool in loaded["tools"]:
            for name, schema in tool["parameters"].get("properties", {}).items():
                if values := LISTED.get((tool["name"], name)):
                    schema["enum"] = list(values)
            tools.append(loaded.get("defaults", {}) | tool)
    path.write_text(yaml.safe_dump({"tools": tools}, allow_unicode=True))
    return path


def _explored(run: Path, tools: Path, seed: int, options: Sequence[str]) -> Counts:
    """Explore in this process; nothing is measured here that takes time."""
    config = load_config(
        None,
        [
            f"tools.files=[{tools}]",
            f"seed={seed}",
            f"explore.episodes_per_tool={EPISODES}",
            f"explore.trials_per_episode={TRIALS}",
            *options,
        ],
    )
    specs = {
        name: packed(spec.model_dump_json().encode())
        for name, spec in configure_tools(config.tools).specs.items()
    }
    store = open_store(str(run))
    with running_teacher(TeacherSettings(seed=seed)) as url:
        status = asyncio.run(_run(config, specs, store, url))
    tally = CoverageTally(specs)
    counts = sort_episodes(store, list(specs), EPISODES, tally.add)
    return {**counts, **tally.counts(), "replies_asked": status.counts["model"]}


async def _run(config: Config, specs: dict[str, bytes], store: RunStore, url: str) -> Status:
    for folder in (layout.EXPLORE_JOURNAL, layout.EPISODE_PARTS):
        segments.seal(store, folder, 1)
    coordinator = Coordinator(
        store,
        1,
        specs,
        episodes_per_tool=EPISODES,
        trials_per_episode=TRIALS,
        num_explorers=1,
        lease_seconds=600,
        clock=MonotonicClock(),
        rules=rules_of(config.explore),
    )
    await coordinator.recover()
    server = LimitServer({})

    async def grant(request: Any) -> Any:
        return server.grant(request)

    models = Models(check_endpoints(config.llm, ("explorer",), {}, url, use_proxy=False), grant)
    await Explorer("explorer", config, models, store, 1, coordinator.exchange).run()
    return await coordinator.status()

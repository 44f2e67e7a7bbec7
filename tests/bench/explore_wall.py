"""50 tools, an episode of 4 trials each, 200 ms latency: how near to the longest one's wait."""

from __future__ import annotations

import time
from pathlib import Path

import ray
from harness import by_name, fleet, generated_specs, teacher
from tables import Row

from ste_ray.core import layout
from ste_ray.core.records import Episode
from ste_ray.runtime import segments
from ste_ray.store.tables import read_records

NUM_TOOLS = 50
LATENCY_SECONDS = 0.2
GOAL = 1.15


def measure(folder: Path) -> list[Row]:
    """Explore once, with actors that are up already."""
    with teacher("--latency-seconds", str(LATENCY_SECONDS)) as counting:
        overrides = ("explore.episodes_per_tool=1", "explore.trials_per_episode=4")
        specs = by_name(generated_specs(NUM_TOOLS))
        with fleet(folder, specs, counting.url, *overrides) as explorers:
            started = time.monotonic()
            ended = explorers.explore()
            while ray.get(explorers.coordinator.status.remote()).tools_done < NUM_TOOLS:
                time.sleep(0.03)
            wall = time.monotonic() - started
            ray.get(ended)
            store = explorers.store
    episodes = [
        episode
        for part in segments.accepted(store, layout.EPISODE_PARTS)
        for episode in read_records(store, part.path, Episode)
    ]
    waits = [
        LATENCY_SECONDS * sum(message.role == "assistant" for message in episode.messages)
        for episode in episodes
    ]
    assert len(episodes) == NUM_TOOLS
    ratio, one_by_one = wall / max(waits), sum(waits)
    return [
        Row(
            "wall time ÷ the longest episode's own waiting",
            f"{ratio:.3f} ({wall:.2f} s ÷ {max(waits):.2f} s)",
            f"≤ {GOAL}",
            ratio <= GOAL,
        ),
        Row(
            "speed-up over one call at a time; its bound",
            f"{one_by_one / wall:.1f} ×; {one_by_one / max(waits):.1f} ×",
        ),
    ]

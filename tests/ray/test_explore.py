"""The explore stage outlives an explorer that is killed, and does no trial twice."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest

from ste_ray.config import load_config
from ste_ray.core.records import Episode
from ste_ray.errors import RunConflictError
from ste_ray.stages.base import StageContext
from ste_ray.stages.registry import run_stages
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.tables import read_records

OVERRIDES = [
    "tools.include=[add_date, airport, roman_encode, isbn_convert]",
    "explore.episodes_per_tool=3",
    "explore.trials_per_episode=2",
    "explore.flush_seconds=0.1",
    "explore.tools_per_explorer=2",
    "llm.teacher_latency_seconds=0.1",
]


def explore(store: RunStore, said: list[str], *overrides: str) -> None:
    config = load_config(None, [*OVERRIDES, *overrides])
    context = StageContext(config=config, store=store, progress=said.append)
    run_stages(("explore",), context)


def explorers() -> list[psutil.Process]:
    below = psutil.Process().children(recursive=True)
    return [one for one in below if any("ray::Explorer" in part for part in one.cmdline())]


def kill_one_explorer_when_something_is_recorded(folder: Path) -> None:
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        alive = explorers()
        if alive and len(list(folder.glob("explore/journal/*.gz"))) > 5:
            alive[0].kill()
            return
        time.sleep(0.05)


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_explorer_loses_and_repeats_nothing(
    tmp_path: Path, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STE_LLM_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    said: list[str] = []
    killer = threading.Thread(
        target=kill_one_explorer_when_something_is_recorded, args=(tmp_path / "run",)
    )
    killer.start()
    store = open_store(str(tmp_path / "run"))
    explore(store, said)
    killer.join()
    assert any("an explorer was lost" in line for line in said)
    episodes = read_records(store, "explore/episodes", Episode)
    trials = [trial.trial_id for episode in episodes for trial in episode.trials]
    assert len(trials) == len(set(trials)) == 4 * 3 * 2

    undisturbed = open_store(str(tmp_path / "other"))
    explore(undisturbed, said)
    expected = read_records(undisturbed, "explore/episodes", Episode)

    def without_times(found: list[Episode]) -> list[dict[str, object]]:
        times = {"trials": {"__all__": {"turns": {"__all__": {"seconds"}}}}}
        return [episode.model_dump(exclude=times) for episode in found]

    assert without_times(episodes) == without_times(expected)

    with pytest.raises(RunConflictError, match="max_turns"):
        explore(store, said, "explore.max_turns=2")

"""Each time a tool is handed out, its explorer is told a higher attempt."""

from __future__ import annotations

from types import SimpleNamespace

from flow_examples import SPEC

from ste_ray.config import Config
from ste_ray.core.episode import episode_id
from ste_ray.stages.explore import _Exploration


class Told:
    """An explorer that keeps what it is told and never answers."""

    def __init__(self) -> None:
        self.told = []
        self.explore_tool = SimpleNamespace(remote=self._remote)

    def _remote(self, spec, recorded, attempt):
        self.told.append((spec.name, attempt))
        return object()


def hand_out(exploration, recorded):
    """Hand the tool to a fresh explorer, as after the loss of the one before."""
    explorer = Told()
    exploration._explorers = [explorer]
    exploration._running.clear()
    exploration._hand_out([SPEC], recorded)
    ((name, attempt),) = explorer.told
    assert name == SPEC.name
    return attempt


def test_attempts_rise_above_those_before_and_those_recorded():
    config = Config()
    exploration = _Exploration(SimpleNamespace(config=config), endpoint=None)
    assert hand_out(exploration, {}) == 1
    assert hand_out(exploration, {}) == 2  # the first was lost before it recorded anything
    scope = episode_id(SPEC, config.stage_fingerprint("explore"), 1)
    recorded = {scope: {0: {"step": 0, "attempt": 7}}, "another": {0: {"step": 0, "attempt": 99}}}
    assert hand_out(exploration, recorded) == 8
    assert hand_out(exploration, recorded) == 9

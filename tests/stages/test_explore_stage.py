"""What the explore stage does once all is explored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from local_fleet import ENDPOINT, Run

from ste_ray.core import layout
from ste_ray.llm.endpoint import Endpoints
from ste_ray.stages.explore import stage
from ste_ray.stages.shared.model_session import Models


async def unreachable(_: Any) -> Any:
    raise ConnectionError("the limit server is gone")


class ShortLivedLimits:
    """A limit server that is lost as soon as the episodes are being sorted."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def spent(self) -> dict[str, float]:
        if self._run.store.list(layout.EPISODES):
            raise ConnectionError("the limit server is gone")
        return {"usd": 0.0, "tokens": 960, "calls": 64}


def test_sorting_needs_no_limit_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path)
    fleet = run.fleet()
    monkeypatch.setattr(stage, "explore_on_ray", lambda *_: run.explore(fleet))
    limits: Any = ShortLivedLimits(run)
    models = Models(Endpoints(roles={"explorer": ENDPOINT}), unreachable)
    counts = stage._explore(run.context, models, limits, dict.fromkeys(run.tools, b""))
    assert (counts["tools"], counts["episodes"]) == (4, 8)
    assert counts["spent"]["calls"] == 64
    assert not run.store.list(layout.EPISODE_PARTS)

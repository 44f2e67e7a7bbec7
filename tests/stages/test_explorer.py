"""An explorer without Ray: what it still tells where it fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ste_ray.config import load_config
from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import StoreError
from ste_ray.llm.checking import check_endpoints
from ste_ray.runtime.clock import MonotonicClock
from ste_ray.runtime.fakes import FakeToolbox
from ste_ray.simulated_provider.server import TeacherSettings, running_teacher
from ste_ray.stages.explore.coordinator import Coordinator, packed
from ste_ray.stages.explore.explorer import Explorer
from ste_ray.stages.shared.limit_server import LimitServer
from ste_ray.stages.shared.model_session import Models
from ste_ray.stages.shared.tools import configure_tools
from ste_ray.store.artifacts import open_store


class Broken:
    async def call(self, request: CallTool) -> ToolResult:
        raise StoreError(f"the recordings of {request.tool!r} cannot be read")


def test_what_happened_before_it_failed_is_told(tmp_path: Path) -> None:
    config = load_config(None, ["tools.include=[add_date]", "explore.episodes_per_tool=1"])
    tools: dict[str, ToolSpec] = configure_tools(config.tools).specs

    async def explored(url: str) -> Coordinator:
        store = open_store(str(tmp_path / "run"))
        coordinator = Coordinator(
            store,
            1,
            {name: packed(spec.model_dump_json().encode()) for name, spec in tools.items()},
            episodes_per_tool=1,
            num_explorers=1,
            lease_seconds=30.0,
            clock=MonotonicClock(),
        )
        await coordinator.recover()
        server = LimitServer({})

        async def grant(request):
            return server.grant(request)

        explorer = Explorer(
            "explorer",
            config,
            Models(check_endpoints(config.llm, ("explorer",), {}, url, use_proxy=False), grant),
            store,
            1,
            coordinator.exchange,
            show=True,
            open_toolbox=lambda *_: FakeToolbox(Broken()),
        )
        with pytest.raises(StoreError, match="recordings of 'add_date'"):
            await explorer.run()
        return coordinator

    with running_teacher(TeacherSettings()) as url:
        coordinator = asyncio.run(explored(url))
    shown = asyncio.run(coordinator.news()).shown
    assert [name for name, _ in shown] == ["model", "model"]
    assert "Action: add_date" in shown[-1][1]["text"]

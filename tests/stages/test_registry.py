"""Stages run one after the other: what they share is read once and freed by whoever frees it."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from ste_ray.config import load_config
from ste_ray.stages import registry
from ste_ray.stages.base import StageContext
from ste_ray.stages.shared import tools
from ste_ray.store.artifacts import open_store

TOOLS = """
tools:
  - name: magnitude
    description: The size of a number.
    effect: read_only
    executor: {kind: python, target: 'operator:abs'}
    parameters: {type: object, properties: {a: {type: number}}, required: [a]}
"""


def test_tools_are_read_once_and_what_explore_frees_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tools.yaml"
    file.write_text(TOOLS)
    reads = []
    read = tools.read_tool_files
    monkeypatch.setattr(
        tools, "read_tool_files", lambda *args, **options: reads.append(1) or read(*args, **options)
    )
    freed = []

    def run_stage(name: str, context: StageContext, _: Any) -> Any:
        if name == "explore":
            watched = weakref.ref(context.configured_tools.specs["magnitude"])
            del context.configured_tools  # as the stage does
            gc.collect()
            freed.append(watched() is None)
        assert context.notes == []
        context.notes.append(name)
        return type("Manifest", (), {"stopped_by": ""})

    monkeypatch.setattr(registry, "run_stage", run_stage)
    config = load_config(None, [f"tools.files=[{file}]"])
    context = StageContext(config, open_store(str(tmp_path / "run")), lambda _: None)
    assert "magnitude" in context.configured_tools.specs  # before Ray starts, to find mistakes
    registry.run_stages(("explore", "prepare"), context)
    assert freed == [True]
    assert len(reads) == 1

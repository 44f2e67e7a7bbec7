"""Figures of one model are never shown under the name of another."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import native_explore
import pytest
from native_runs import Plan

from tests.tiny_model import save_tiny_model


def test_each_model_explores_in_runs_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    models: list[str] = []

    def explore(*arguments: str) -> str:
        runs.append(arguments[arguments.index("--run") + 1])
        models.extend(one for one in arguments if one.startswith("llm.local_model="))
        raise EOFError  # nothing is explored here

    monkeypatch.setattr(native_explore, "ste_ray", explore)
    first = save_tiny_model(tmp_path / "first" / "model")
    other = save_tiny_model(tmp_path / "other" / "model")
    plan = Plan(first, (1,), 1, 1, tmp_path / "runs", quick=True)
    for model in (first, other, first):
        with pytest.raises(EOFError):
            native_explore.explored(dataclasses.replace(plan, model=model))
    assert runs[0] == runs[2] != runs[1]
    assert models[0] == models[2] != models[1]

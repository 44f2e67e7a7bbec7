"""How a stage ends: the manifest first, then the report that is made from it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.asked_models import asked_models
from ste_ray.stages.base import StageContext
from ste_ray.stages.report import writing
from ste_ray.stages.running import run_stage
from ste_ray.store.artifacts import open_store
from ste_ray.store.manifest import StageManifest, read_manifest, write_manifest


class Ended:
    """An evaluation whose work takes no time, in a run that has a space in its name."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.earlier_report = False  # whether stages before have left one
        self.folder = folder / "a run"
        self.store = open_store(str(self.folder))
        answered = StageManifest(
            stage="infer",
            config={},
            config_fingerprint="f",
            code_version="1",
            started_at=0.0,
            seconds=1.0,
            seed=0,
        )
        write_manifest(self.store, answered)

    def run(self, **models: str) -> StageManifest:
        context = StageContext(Config(), self.store, self.said.append)
        context.models = asked_models(models)
        return run_stage("evaluate", context, self._body)

    def _body(self, context: StageContext) -> dict[str, Any]:
        assert self.store.exists(layout.REPORT) == self.earlier_report
        context.notes.append("a note that was just made")
        return {"predictions": 77_123}

    @property
    def page(self) -> str:
        return self.store.read_bytes(layout.REPORT).decode()


@pytest.fixture
def ended(tmp_path: Path) -> Ended:
    return Ended(tmp_path)


def test_the_report_is_made_from_the_manifest(ended: Ended) -> None:
    manifest = ended.run()
    assert manifest == read_manifest(ended.store, "evaluate")
    assert "77,123" in ended.page
    assert "a note that was just made" in ended.page
    assert manifest.inputs["infer"] in ended.page
    assert ended.said[-1] == f"evaluate: the report is {ended.folder / layout.REPORT}"


def test_a_report_that_cannot_be_written_costs_nothing_else(ended: Ended) -> None:
    (ended.folder / layout.REPORT).mkdir(parents=True)  # no file can take its place
    assert ended.run().counts == {"predictions": 77_123}
    assert read_manifest(ended.store, "evaluate") is not None
    assert "complete, but the report could not be written" in ended.said[-1]
    assert f"run 'ste-ray report --run {shlex.quote(str(ended.folder))}'" in ended.said[-1]
    assert "\n" not in ended.said[-1]


def test_a_complete_stage_makes_up_for_a_report_that_is_missing(ended: Ended) -> None:
    ended.run()
    ended.store.delete(layout.REPORT)
    manifest = ended.run()
    assert "already complete" in ended.said[-2]
    assert manifest == read_manifest(ended.store, "evaluate")
    assert "77,123" in ended.page


def test_a_report_of_earlier_stages_is_not_left_where_a_stop_keeps_the_new_one_out(
    ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_: Any) -> str:
        raise SystemExit(75)

    ended.store.write_bytes(layout.REPORT, b"of earlier stages")
    ended.earlier_report = True
    monkeypatch.setattr(writing, "write_report", stopped)
    with pytest.raises(SystemExit):
        ended.run()
    monkeypatch.undo()
    assert read_manifest(ended.store, "evaluate") is not None
    ended.run()
    assert "77,123" in ended.page


def test_the_manifest_says_who_answered(ended: Ended) -> None:
    ended.store.write_json(layout.models("evaluate"), {"scorer": "some-model"})
    manifest = ended.run(explorer="scripted-teacher")
    assert manifest.models is not None
    assert {role: one.kind for role, one in manifest.models.items()} == {
        "scorer": "model",
        "explorer": "script",
    }
    assert "A script explored, not a language model" in ended.page

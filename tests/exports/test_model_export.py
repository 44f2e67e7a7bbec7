"""The trained model of a run as a folder."""

from __future__ import annotations

import json

import pytest

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.toolkens import TOOLKENS_FILE
from ste_ray.store.artifacts import open_store
from ste_ray.store.manifest import StageManifest, write_manifest
from ste_ray.training.tool_parser import TOOL_PARSER_FILE
from tests.vllm_parser import PLUGIN


def make_model(run, form, toolkens=True):
    store = open_store(str(run))
    store.write_json(f"{layout.TUNED_MODEL}/config.json", {"model_type": "llama"})
    store.write_bytes(f"{layout.TUNED_MODEL}/model.safetensors", b"0" * 1000)
    if toolkens:
        store.write_json(
            f"{layout.TUNED_MODEL}/{TOOLKENS_FILE}", {"tools": {"x": 5}, "retired": []}
        )
    manifest = StageManifest(
        stage="train",
        config={"train": {"format": form}},
        config_fingerprint="f",
        code_version="1.2.3",
        started_at=0.0,
        seconds=1.0,
        seed=0,
    )
    write_manifest(store, manifest)
    return store


@pytest.mark.parametrize(
    ("form", "toolkens", "has_parser"),
    [("toolken", True, True), ("native", True, False), ("toolken", False, False)],
)
def test_the_folder_has_what_servers_read(tmp_path, capsys, form, toolkens, has_parser):
    store = make_model(tmp_path / "run", form, toolkens)
    out = tmp_path / "out"
    assert main(["export", "model", "--run", store.uri, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (out / "model.safetensors").read_bytes() == b"0" * 1000
    assert told["files"] == len(list(out.iterdir())) == 2 + toolkens + has_parser
    assert told["bytes"] == sum(file.stat().st_size for file in out.iterdir())
    assert (out / TOOL_PARSER_FILE).exists() is has_parser
    if has_parser:
        assert (out / TOOL_PARSER_FILE).read_text() == PLUGIN.read_text()


def test_a_run_without_a_model_is_told_in_one_line(tmp_path, capsys):
    store = open_store(str(tmp_path / "run"))
    out = tmp_path / "out"
    assert main(["export", "model", "--run", store.uri, "--out", str(out)]) == 2
    assert "holds no trained model; run 'ste-ray train" in capsys.readouterr().err
    assert not out.exists()

"""Models that stages cannot use are told before Ray starts, and before any weight is fetched."""

from __future__ import annotations

import json
import shutil
import socket
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from ste_ray.cli.main import main
from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.errors import ConfigError, NoToolsError, TemporaryError, ToolTemplateError
from ste_ray.stages.needs import check_models
from ste_ray.store.artifacts import open_store
from ste_ray.store.manifest import declare_stage
from ste_ray.training.base import base_folder
from tests.fake_hub import FakeHub, fake_hub
from tests.native_templates import HERMES, SILENT
from tests.tiny_model import save_tiny_model

LENGTH = "train.max_tokens=256"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model whose template knows no tools."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def changed(model: Path, folder: Path, **files: str | None) -> Path:
    """Copy a model with other files; None: without that one. Dots are written as ``__``."""
    shutil.copytree(model, folder)
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        path.unlink() if text is None else path.write_text(text, "utf-8")
    return folder


def at_hub(patch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """Let the hub's client ask at an address, with a cache of its own."""
    patch.setattr(constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))


@pytest.fixture
def hub(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with models of several kinds."""
    models = {
        "some/tiny": model,
        "some/silent": changed(model, tmp_path / "silent", chat_template__jinja=SILENT),
        "some/tools": changed(model, tmp_path / "tools", chat_template__jinja=HERMES),
        "some/pickled": changed(model, tmp_path / "pickled", model__safetensors=None),
        "some/data": changed(model, tmp_path / "data", config__json=None),
    }
    with fake_hub(models) as found:
        at_hub(monkeypatch, found.url, tmp_path / "cache")
        yield found


def check(run: Path, stages: tuple[str, ...], *overrides: str) -> None:
    config = load_config(None, [LENGTH, *overrides])
    check_models(config, open_store(str(run)), stages)


def refused(run: Path, stages: tuple[str, ...], *overrides: str, by: type[Exception]) -> str:
    with pytest.raises(by) as told:
        check(run, stages, *overrides)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_base_of_the_hub_is_looked_at_without_its_weights(hub: FakeHub, tmp_path: Path) -> None:
    check(tmp_path / "run", ("train",), "train.model.base=some/tiny")
    assert "config.json" in hub.fetched
    for base, complaint in {
        "some/none": "knows no such model, or it is private; correct the name, set HF_TOKEN",
        "some/pickled": "holds no weights in safetensors",
        "some/data": "cannot use train.model.base='some/data'",
        "a/name/with/parts": "is no folder; give an existing one",
        "not a name": "does not give it",
    }.items():
        told = refused(tmp_path / "run", ("train",), f"train.model.base={base}", by=ConfigError)
        assert f"train.model.base={base!r}" in told
        assert complaint in told
    long = refused(
        tmp_path / "run",
        ("train",),
        "train.model.base=some/tiny",
        "train.max_tokens=4096",
        by=ConfigError,
    )
    assert "exceeds the 512 positions" in long
    assert "model.safetensors" not in hub.fetched
    assert not (tmp_path / "run").exists()


def test_a_hub_that_fails_is_no_mistake_and_a_folder_helps(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    run = tmp_path / "run"
    hub.status = 503
    told = refused(run, ("train",), "train.model.base=some/tiny", by=TemporaryError)
    assert f"the Hugging Face hub at {hub.url!r} cannot be reached (it answers with status" in told
    assert "give the folder of a downloaded model" in told
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    at_hub(monkeypatch, nobody, tmp_path / "other cache")
    told = refused(run, ("train",), "train.model.base=some/tiny", by=TemporaryError)
    assert f"{nobody!r} cannot be reached" in told
    check(run, ("train",), f"train.model.base={model}")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    told = refused(run, ("train",), "train.model.base=some/tiny", by=ConfigError)
    assert "HF_HUB_OFFLINE is set); give a folder, or unset it" in told.replace(
        "unset HF_HUB_OFFLINE", "unset it"
    )


def test_what_is_in_the_cache_does_for_a_hub_that_cannot_be_reached(
    hub: FakeHub, tmp_path: Path
) -> None:
    check(tmp_path / "run", ("train",), "train.model.base=some/tiny")
    hub.status = 500
    check(tmp_path / "run", ("train",), "train.model.base=some/tiny")


def test_offline_the_weights_must_be_in_the_cache_too(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, base = tmp_path / "run", "train.model.base=some/tiny"
    mine = ("infer.models={mine: some/tiny}", "infer.settings=[mine/plain]")
    check(run, ("train",), base)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for key, stages, overrides in (
        ("train.model.base=", ("explore", "train"), (base,)),
        ("infer.models.mine=", ("infer",), mine),
    ):
        told = refused(run, stages, *overrides, by=ConfigError)
        assert told.startswith(f"{key}'some/tiny' is no folder here and not wholly in the cache")
        assert "HF_HUB_OFFLINE is set" in told
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with base_folder("some/tiny", False) as folder:
        assert (folder / "model.safetensors").is_file()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    check(run, ("train",), base)
    check(run, ("infer",), *mine)

    older = tmp_path / "older"  # as a client leaves it that keeps no listing
    shutil.copytree(tmp_path / "cache", older, symlinks=True)
    for listing in older.rglob("trees"):
        shutil.rmtree(listing)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(older))
    check(run, ("train",), base)
    for weights in older.rglob("*.safetensors"):
        weights.unlink()
    told = refused(run, ("train",), base, by=ConfigError)
    assert "no weights in safetensors in the cache" in told


@pytest.mark.parametrize(
    "address", ["huggingface.co", "ftp://x", "", "https://", "http://[", "https://h:99999999"]
)
def test_an_address_of_a_hub_that_is_none_is_a_mistake(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_hub(monkeypatch, address, tmp_path / "cache")
    told = refused(tmp_path, ("train",), "train.model.base=some/tiny", by=ConfigError)
    assert f"HF_ENDPOINT={address!r} is no address of a Hugging Face hub" in told


def test_weights_within_a_folder_of_a_model_do_not_count(
    hub: FakeHub, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "pickled" / "onnx").mkdir()
    shutil.copy(model / "model.safetensors", tmp_path / "pickled" / "onnx")
    told = refused(tmp_path / "run", ("train",), "train.model.base=some/pickled", by=ConfigError)
    assert "holds no weights in safetensors" in told
    shutil.copytree(tmp_path / "pickled" / "onnx", tmp_path / "tools" / "onnx")
    hub.fetched.clear()
    with base_folder("some/tools", False):
        assert hub.fetched.count("model.safetensors") == 1


def test_the_template_of_a_base_is_read_before_the_run_begins(hub: FakeHub, tmp_path: Path) -> None:
    run, native = tmp_path / "run", "train.format=native"
    stages = ("explore", "prepare", "train", "infer")
    only_text = "infer.settings=[base/plain]"
    told = refused(
        run, stages, "train.model.base=some/silent", native, only_text, by=ToolTemplateError
    )
    assert told.startswith("train.model.base='some/silent': ")
    check(run, stages, "train.model.base=some/tiny", native, "infer.settings=[tuned/native]")

    told = refused(
        run,
        stages,
        "train.model.base=some/silent",
        "infer.settings=[base/native]",
        by=ToolTemplateError,
    )
    assert "setting 'base/native'" in told
    both = "infer.settings=[base/native, tuned/native]"
    check(run, stages, "train.model.base=some/tools", native, both)
    check(run, stages, "train.model.base=some/tools", both)
    check(run, stages, "train.model.base=some/tiny", both)  # given a template that knows tools
    check(run, stages, both)  # of a model that is built here


def test_further_models_of_the_hub_are_looked_at_too(hub: FakeHub, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for known in ("some/tools", "some/tiny"):
        check(run, ("infer",), f"infer.models={{mine: {known}}}", "infer.settings=[mine/native]")
    for name, prompt, by, complaint in (
        ("some/none", "plain", ConfigError, "infer.models.mine='some/none' is no folder here"),
        ("some/pickled", "plain", ConfigError, "holds no weights in safetensors"),
        ("some/data", "plain", ConfigError, "holds neither config.json nor"),
        ("some/silent", "native", ToolTemplateError, "setting 'mine/native': the"),
    ):
        settings = f"infer.settings=[mine/{prompt}]"
        models = f"infer.models={{mine: {name}}}"
        assert complaint in refused(run, ("infer",), models, settings, by=by)
    hub.status = 502
    settings, models = "infer.settings=[mine/plain]", "infer.models={mine: some/other}"
    refused(run, ("infer",), models, settings, by=TemporaryError)
    assert "model.safetensors" not in hub.fetched


def test_a_base_of_another_run_is_looked_at(model: Path, tmp_path: Path) -> None:
    other = open_store(f"file://{tmp_path}/other")
    other.upload_folder(model, layout.TUNED_MODEL)
    base = f"train.model.base=file://{tmp_path}/other/{layout.TUNED_MODEL}"
    check(tmp_path / "run", ("train",), base)
    told = refused(tmp_path / "run", ("train",), f"{base}s", by=ConfigError)
    assert "there is nothing; give the URI of a model's folder" in told
    other.delete(f"{layout.TUNED_MODEL}/model.safetensors")
    told = refused(tmp_path / "run", ("train",), base, by=ConfigError)
    assert "there are no weights in safetensors; give the URI of a model's folder" in told


@pytest.mark.parametrize("scheme", ["file://", ""])
def test_further_models_are_looked_at_wherever_they_are(
    model: Path, tmp_path: Path, scheme: str
) -> None:
    def told(folder: Path) -> str:
        mine = f"infer.models={{mine: {scheme}{folder}}}"
        overrides = (mine, "infer.settings=[mine/plain]")
        return refused(tmp_path / "run", ("infer",), *overrides, by=ConfigError)

    good = f"infer.models={{mine: {scheme}{model}}}"
    check(tmp_path / "run", ("infer",), good, "infer.settings=[mine/plain]")
    if scheme:
        assert "holds neither config.json nor" in told(tmp_path / "none")
    empty = changed(model, tmp_path / "empty", config__json=None)
    assert "holds neither config.json nor adapter_config.json" in told(empty)
    pickled = changed(model, tmp_path / "pickled", model__safetensors=None)
    assert "holds no weights in safetensors" in told(pickled)
    broken = changed(model, tmp_path / "broken", config__json="{")
    assert "config.json is no valid JSON" in told(broken)


def test_a_model_that_is_served_must_be_there_and_know_tools_to_be_asked_natively(
    model: Path, tmp_path: Path
) -> None:
    run, native = tmp_path / "run", "explore.protocol=native"
    told = refused(run, ("explore",), f"llm.local_model={tmp_path}/none", by=ConfigError)
    assert "is no folder; give a downloaded model's folder" in told
    check(run, ("explore",), f"llm.local_model={model}")
    told = refused(run, ("explore",), f"llm.local_model={model}", native, by=NoToolsError)
    assert told.startswith(f"llm.local_model={str(model)!r} cannot be asked by native tool calling")
    assert "explore.protocol=text" in told
    knows = changed(model, tmp_path / "knows", chat_template__jinja=HERMES)
    check(run, ("explore",), f"llm.local_model={knows}", native)
    check(run, ("train",), f"llm.local_model={tmp_path}/none")  # asks nobody


def test_an_encoder_that_cannot_be_loaded_is_told_before_an_exploration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str) -> Any:
        try:
            raise ConnectionRefusedError("nobody listens")
        except ConnectionRefusedError as error:
            words = "We couldn't connect to 'https://huggingface.co' to load the files"
            raise OSError(words) from (error if name == "far/away" else None)

    library = types.ModuleType("sentence_transformers")
    library.SentenceTransformer = load  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", library)
    stages = ("explore", "prepare", "retrieve")
    told = refused(tmp_path, stages, "retrieve.encoder=far/away", by=TemporaryError)
    assert "retrieve.encoder='far/away' is no folder here, and the Hugging Face hub" in told
    told = refused(tmp_path, stages, "retrieve.encoder=no/such", by=ConfigError)
    assert "retrieve.encoder='no/such' cannot be loaded" in told
    check(tmp_path, ("explore", "prepare"), "retrieve.encoder=no/such")


def test_of_a_stage_that_is_complete_nothing_is_looked_at(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    base = f"train.model.base={tmp_path}/none"
    refused(tmp_path, ("train",), base, by=ConfigError)
    refused(tmp_path, ("continual",), base, by=ConfigError)
    store.write_json(layout.BASE_MARKER, {"base": "", "rows": 1})  # it has been taken
    check(tmp_path, ("train",), base)
    store.delete(layout.BASE_MARKER)
    declare_stage(store, "train", {}, {}, started_at=0.0)
    check(tmp_path, ("train",), base)


@pytest.mark.parametrize(("status", "code"), [(0, 2), (503, 75)])
def test_the_command_ends_before_ray_starts(
    hub: FakeHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    code: int,
) -> None:
    def started(*_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("ste_ray.stages.cluster.connect.ray_connection", started)
    hub.status = status
    run = tmp_path / "run"
    assert main(["pipeline", "--run", str(run), "--json", "train.model.base=some/none"]) == code
    out, err = capsys.readouterr()
    assert err.startswith("error: train.model.base='some/none' is no folder here, and the Hugging")
    assert len(err.splitlines()) == 1
    assert json.loads(out)["error"]["exit_code"] == code
    assert not run.exists()

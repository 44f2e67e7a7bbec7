"""Manifests: what makes a stage complete, resumable or in conflict, and recorded failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ste_ray.config import Config
from ste_ray.core.asked_models import AskedModel
from ste_ray.core.exploring.config import ExploreConfig
from ste_ray.core.records import fingerprint
from ste_ray.errors import EndpointError, RunConflictError, StageInputError, SteRayError
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import (
    StageFailure,
    StageManifest,
    begin_stage,
    clear_failure,
    manifest_fingerprint,
    read_failure,
    read_manifest,
    read_models,
    write_failure,
    write_manifest,
)

CONFIG = {"seed": 0, "explore": {"max_turns": 4, "files": ("builtin",)}}
INPUTS = {"tools": "aaaa"}


def begin(store: RunStore, config: dict[str, Any] = CONFIG, inputs: Any = INPUTS) -> str:
    return begin_stage(store, "explore", config, fingerprint(config), inputs)


def manifest(**changes: Any) -> StageManifest:
    values: dict[str, Any] = {
        "stage": "explore",
        "config": CONFIG,
        "config_fingerprint": fingerprint(CONFIG),
        "inputs": INPUTS,
        "code_version": "0.1.0",
        "started_at": 1_770_000_000.5,
        "seconds": 12.5,
        "seed": 0,
        "counts": {"trials": 3, "cost": {"usd": 0.25}},
        "notes": ("a script, not a language model, explored",),
    }
    return StageManifest.model_validate(values | changes)


def test_a_stage_is_new_then_resumed_then_complete(store: RunStore) -> None:
    assert begin(store) == "new"
    assert begin(store) == "resume"
    write_manifest(store, manifest())
    assert begin(store) == "complete"
    assert store.list() == ["explore/manifest.json", "explore/started.json"]


def test_a_manifest_survives(store: RunStore) -> None:
    assert read_manifest(store, "explore") is None
    write_manifest(store, manifest())
    read = read_manifest(store, "explore")
    assert read is not None
    assert read.counts == {"trials": 3, "cost": {"usd": 0.25}}
    assert read.notes == ("a script, not a language model, explored",)
    assert manifest_fingerprint(read) == manifest_fingerprint(manifest())


def test_models_are_told_by_the_manifest_or_as_earlier_versions_noted_them(store: RunStore) -> None:
    assert read_models(store, "explore") == {}
    store.write_json("explore/models.json", {"explorer": "scripted-teacher", "tool_simulator": "m"})
    written = manifest().model_dump(mode="json")
    del written["models"]
    store.write_json("explore/manifest.json", written)
    old = read_models(store, "explore")
    assert {role: (one.model, one.is_script) for role, one in old.items()} == {
        "explorer": ("scripted-teacher", True),
        "tool_simulator": ("m", False),
    }
    asked = {"explorer": AskedModel(model="behind a proxy", kind="script")}
    write_manifest(store, manifest(models=asked))
    assert read_models(store, "explore") == asked


@pytest.mark.parametrize("finished", [False, True])
def test_another_configuration_is_a_conflict(store: RunStore, finished: bool) -> None:
    begin(store)
    if finished:
        write_manifest(store, manifest())
    other = {"seed": 7, "explore": {"max_turns": 5, "files": ("builtin",), "new": True}}
    with pytest.raises(RunConflictError) as caught:
        begin(store, other)
    message = str(caught.value)
    assert (
        "explore.max_turns was 4, now 5; explore.new was absent, now True; seed was 0, now 7"
        in message
    )
    assert "files" not in message
    assert f"delete '{store.uri}/explore'" in message
    assert "\n" not in message
    assert begin(store) == ("complete" if finished else "resume")  # nothing was changed


def test_other_inputs_are_a_conflict(store: RunStore) -> None:
    begin(store)
    with pytest.raises(RunConflictError, match="input 'tools' was 'aaaa', now 'bbbb'"):
        begin(store, inputs={"tools": "bbbb"})


def test_many_differences_are_cut(store: RunStore) -> None:
    begin(store, {f"key{n}": "x" * 500 for n in range(9)})
    with pytest.raises(RunConflictError, match=r"key2 was .* and 6 more") as caught:
        begin(store, {f"key{n}": "y" * 500 for n in range(9)})
    assert len(str(caught.value)) < 900


def test_another_schema_version_is_a_conflict(store: RunStore) -> None:
    write_manifest(store, manifest(schema_version=0))
    with pytest.raises(RunConflictError, match="schema version was 0, now 1"):
        begin(store)


def test_real_configurations(store: RunStore) -> None:
    first = Config()
    fields, mark = first.stage_fields("explore"), first.stage_fingerprint("explore")
    assert begin_stage(store, "explore", fields, mark, {}) == "new"
    assert begin_stage(store, "explore", fields, mark, {}) == "resume"
    second = Config(explore=ExploreConfig(temperature=0.5, num_explorers=9))
    with pytest.raises(RunConflictError, match=r": explore.temperature was 1.0, now 0.5\. Give"):
        begin_stage(
            store,
            "explore",
            second.stage_fields("explore"),
            second.stage_fingerprint("explore"),
            {},
        )


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"seconds": 99.0, "started_at": 1.0, "code_version": "9", "notes": ()}, True),
        ({"counts": {"trials": 4}}, False),
        ({"config_fingerprint": "other"}, False),
        ({"inputs": {}}, False),
    ],
)
def test_what_counts_for_a_fingerprint(change: dict[str, Any], same: bool) -> None:
    assert (manifest_fingerprint(manifest(**change)) == manifest_fingerprint(manifest())) is same


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"stage": "explore"}'])
def test_damaged_manifests_are_named(tmp_path: Path, content: bytes) -> None:
    store = open_store(str(tmp_path))
    store.write_bytes("explore/manifest.json", content)
    with pytest.raises(StageInputError, match=r"explore/manifest\.json'") as caught:
        begin(store)
    assert "\n" not in str(caught.value)


def test_a_failure_is_kept_for_its_configuration(store: RunStore) -> None:
    assert read_failure(store, "explore", "aaaa") is None
    write_failure(store, "explore", "aaaa", EndpointError("the key 'x' was refused"))
    assert read_failure(store, "explore", "bbbb") is None
    assert read_failure(store, "train", "aaaa") is None
    failure = read_failure(store, "explore", "aaaa")
    assert failure is not None
    assert failure.exit_code == 2
    error = failure.error()
    assert type(error) is EndpointError
    assert str(error) == "the key 'x' was refused"
    clear_failure(store, "explore")
    assert read_failure(store, "explore", "aaaa") is None
    clear_failure(store, "explore")


@pytest.mark.parametrize("name", ["Unheard", "annotations", "__doc__"])
def test_failures_of_unknown_types(name: str) -> None:
    failure = StageFailure(
        stage="explore", attempt="a", error_type=name, message="m", exit_code=1, at=0.0
    )
    assert type(failure.error()) is SteRayError

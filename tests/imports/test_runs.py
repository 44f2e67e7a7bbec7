"""The data of a run, taken into another run."""

from __future__ import annotations

import json

import pytest
from exports.prepared_run import make_run

from ste_ray.cli.main import main
from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.records import TrainRow
from ste_ray.errors import RunConflictError, StageInputError, TemporaryError
from ste_ray.stages.base import StageContext
from ste_ray.stages.imports.runs import import_run
from ste_ray.stages.inputs import input_fingerprints
from ste_ray.stages.registry import run_stages
from ste_ray.store.artifacts import open_store
from ste_ray.store.manifest import declare_stage, read_manifest, write_manifest
from ste_ray.store.tables import read_records

BY = "seed=3"


@pytest.fixture
def source(tmp_path):
    """A run whose explore, prepare and retrieve are complete."""
    store, _, _ = make_run(tmp_path / "source")
    config = load_config(None, [BY])
    for stage in ("explore", "prepare", "retrieve"):
        context = StageContext(config=config, store=store, progress=print)
        fields = config.stage_fields(stage)
        inputs = input_fingerprints(stage, context)
        if stage == "retrieve":
            store.write_bytes("retrieve/retrieved/part-00000.parquet", b"found")
        declare_stage(store, stage, fields, {"of": stage}, started_at=1.0, inputs=inputs)
    return store


def take(source, target, through="prepare"):
    said = []
    manifests = import_run(target, source, through, said.append)
    return manifests, said


def test_the_data_are_there_byte_by_byte_and_the_stages_count_as_done(source, tmp_path):
    target = open_store(str(tmp_path / "target"))
    manifests, _ = take(source, target)
    assert [one.stage for one in manifests] == ["explore", "prepare"]
    copied = [path for path in source.list() if path.startswith(("explore/", "prepare/"))]
    bookkeeping = {layout.manifest("explore"), layout.manifest("prepare")}
    for path in copied:
        if path not in bookkeeping:
            assert target.read_bytes(path) == source.read_bytes(path)
    markers = {layout.imported("explore"), layout.imported("prepare")}
    assert set(target.list()) - {layout.LOCK} == {*copied, *markers}
    assert read_records(target, layout.ROWS, TrainRow) == read_records(
        source, layout.ROWS, TrainRow
    )
    for one in manifests:
        assert one.notes[-1] == f"{one.stage} was taken from the run {source.uri!r}"

    # What reads them finds the same inputs, and with the same configuration nothing is done again.
    found = []
    for store in (source, target):
        context = StageContext(config=load_config(None, [BY]), store=store, progress=print)
        found.append([input_fingerprints(stage, context) for stage in ("retrieve", "train")])
    assert found[0] == found[1]


def test_a_second_time_nothing_is_copied_and_further_stages_may_follow(source, tmp_path):
    target = open_store(str(tmp_path / "target"))
    take(source, target)
    target.write_bytes(layout.PREPARED_TOOLKENS, b"[]")  # by hand, to see that it stays
    _, said = take(source, target)
    assert "already" in said[0]
    manifests, said = take(source, target, "retrieve")
    assert said == [f"import: taking retrieve from {source.uri}"]
    assert [one.stage for one in manifests] == ["explore", "prepare", "retrieve"]
    assert target.read_bytes(layout.PREPARED_TOOLKENS) == b"[]"
    assert target.read_bytes("retrieve/retrieved/part-00000.parquet") == b"found"


def test_what_was_cut_off_is_copied_again(source, tmp_path):
    target = open_store(str(tmp_path / "target"))
    take(source, target)
    target.delete(layout.manifest("prepare"))
    target.write_bytes("prepare/rows/part-00000.parquet", b"half")
    _, said = take(source, target)
    assert said == [f"import: taking prepare from {source.uri}"]
    path = "prepare/rows/part-00000.parquet"
    assert target.read_bytes(path) == source.read_bytes(path)


def test_what_the_source_has_no_longer_goes_with_the_next_attempt(source, tmp_path):
    """An import was cut off, and the stage was done again in the other run since, with less."""
    target = open_store(str(tmp_path / "target"))
    take(source, target)
    for number in (1, 2):
        target.write_bytes(f"{layout.EPISODES}/part-{number:05}.parquet", b"of the first time")
    for stage in ("explore", "prepare"):
        target.delete(layout.manifest(stage))
    take(source, target)
    left = {layout.LOCK, layout.imported("explore"), layout.imported("prepare")}
    both = (*source.list("explore"), *source.list("prepare"))
    assert set(target.list()) - left == set(both)


@pytest.mark.parametrize("how", ["done again", "begun again", "a file is gone"])
def test_a_source_that_changes_while_it_is_copied_is_not_taken(source, tmp_path, how, monkeypatch):
    target = open_store(str(tmp_path / "target"))
    manifest = read_manifest(source, "prepare")
    (first, *_) = source.list(layout.ROWS)
    read = source.read_bytes

    def changing(path):
        if path == first:
            if how == "a file is gone":
                raise FileNotFoundError(path)
            source.delete(layout.manifest("prepare"))
            if how == "done again":
                write_manifest(source, manifest.model_copy(update={"started_at": 2.0}))
        return read(path)

    monkeypatch.setattr(source, "read_bytes", changing)
    with pytest.raises(TemporaryError, match=r"prepare of .* was done again while it was copied"):
        take(source, target)
    assert read_manifest(target, "prepare") is None
    monkeypatch.undo()
    write_manifest(source, manifest)
    take(source, target)
    assert target.read_bytes(first) == source.read_bytes(first)


def test_stages_of_ones_own_are_left_alone(source, tmp_path):
    target = open_store(str(tmp_path / "target"))
    target.write_json(layout.started("explore"), {})
    with pytest.raises(RunConflictError, match=r"has another explore than .*; give another --run"):
        take(source, target)
    assert target.list("prepare") == []

    complete = open_store(str(tmp_path / "complete"))
    manifest = read_manifest(source, "explore")
    write_manifest(complete, manifest.model_copy(update={"started_at": 2.0}))
    with pytest.raises(RunConflictError, match="has another explore"):
        take(source, complete)

    other, _, _ = make_run(tmp_path / "other")
    declare_stage(other, "explore", {}, {}, started_at=1.0)
    taken = open_store(str(tmp_path / "taken"))
    take(other, taken, "explore")
    with pytest.raises(RunConflictError, match="has another explore"):
        take(source, taken)


def test_stages_that_are_not_complete_cannot_be_taken(source, tmp_path):
    target = open_store(str(tmp_path / "target"))
    source.delete(layout.manifest("retrieve"))
    with pytest.raises(StageInputError, match=r"retrieve is not complete in .*ste-ray retrieve"):
        take(source, target, "retrieve")
    manifest = read_manifest(source, "explore")
    write_manifest(source, manifest.model_copy(update={"stopped_by": "the budget"}))
    with pytest.raises(StageInputError, match=r"explore was stopped \(the budget\) in"):
        take(source, target)
    assert target.list() == []


def test_the_command(source, tmp_path, capsys):
    target = str(tmp_path / "target")
    assert main(["import", "run", source.uri, "--run", target, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"run": target, "from": source.uri, "stages": ["explore", "prepare"]}
    assert main(["import", "run", source.uri, "--run", source.uri]) == 2
    assert "cannot be taken from itself" in capsys.readouterr().err
    assert main(["import", "run", str(tmp_path / "none"), "--run", target]) == 2
    error = capsys.readouterr().err
    assert "error: explore is not complete in" in error
    assert main(["import", "run", source.uri, "--run", target, "--through", "train"]) == 2
    assert "choose from explore, prepare, retrieve" in capsys.readouterr().err


def test_a_stage_that_was_taken_is_complete_for_the_same_configuration(source, tmp_path):
    target = open_store(str(tmp_path / "target"))
    take(source, target)
    said = []
    config = load_config(None, [BY])
    run_stages(("prepare",), StageContext(config=config, store=target, progress=said.append))
    assert said == [f"prepare: already complete in {target.uri}, nothing to do"]

"""The tools of a training, and of those before it, in the folder of its model."""

from __future__ import annotations

import json

import pytest

from ste_ray.core import layout
from ste_ray.core.trained_tools import TOOLS_FILE
from ste_ray.store.artifacts import open_store
from ste_ray.training.trained_tools import write_trained_tools


def spec(name):
    executor = {"kind": "python", "target": "a:b"}
    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}}
    return {"name": name, "description": "D.", "parameters": parameters, "executor": executor}


@pytest.fixture
def folders(tmp_path):
    made = [tmp_path / name for name in ("model", "base")]
    for folder in made:
        folder.mkdir()
    return [*made, open_store(str(tmp_path / "run"))]


def names(folder):
    found = json.loads((folder / TOOLS_FILE).read_text())
    return [one["function"]["name"] for one in found["tools"]]


def test_tools_of_the_data_are_noted_beside_those_of_the_base(folders):
    model, base, store = folders
    store.write_json(layout.TOOLS, [spec("add"), spec("unused")])
    write_trained_tools(model, base, store, ["add"])
    assert names(model) == ["add"]
    (base / TOOLS_FILE).write_bytes((model / TOOLS_FILE).read_bytes())
    store.write_json(layout.TOOLS, [spec("later")])
    write_trained_tools(model, base, store, ["later"])
    assert names(model) == ["add", "later"]


def test_imported_rows_bring_no_schemas(folders):
    write_trained_tools(*folders, ["add"])
    assert not (folders[0] / TOOLS_FILE).exists()


@pytest.mark.parametrize(
    "foreign", ["", "[1]", "{}", '{"tools": [1], "names": {}}', '{"tools": 3}']
)
def test_a_file_of_another_program_does_not_count(folders, foreign):
    model, base, store = folders
    (base / TOOLS_FILE).write_text(foreign)
    store.write_json(layout.TOOLS, [spec("add")])
    write_trained_tools(model, base, store, ["add"])
    assert names(model) == ["add"]

"""A prepared run with names, arguments and texts of all kinds, as exports find it."""

from __future__ import annotations

import time
from pathlib import Path

from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.preparing.formatting import (
    absent_tool_row,
    general_no_call_row,
    general_row,
    training_rows,
)
from ste_ray.core.records import Example, Message, TrainRow, canonical_json
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.toolkens import toolken
from ste_ray.stages.base import load_prompts
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import StageManifest, write_manifest
from ste_ray.store.tables import write_records

ARGUMENTS = {
    "add": {"a": 1},
    "Tool%%Endpoint name & [x]": {"b": {"c": [1, "x", None], "d": {}}},
    "größer " + "noch" * 20: {},
    "find": {"query": 'say "hi" <tool_add> ü', "limit": 2.5, "flag": True},
}
NAMES = sorted(ARGUMENTS)
HELD_OUT = "secret_tool"
PARAMETERS = {
    "add": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    "Tool%%Endpoint name & [x]": {"type": "object", "additionalProperties": True},
    "find": {
        "type": "object",
        "properties": {"query": {"type": "string", "enum": ["x", "y"]}, "limit": {"default": None}},
    },
}


def spec(name: str) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=f"Does {name} | and more.\nOn two lines.",
        parameters=PARAMETERS.get(name, {"type": "object"}),
        executor={"kind": "python", "target": "m:f"},
    )


def example(name: str, number: int, split: str) -> Example:
    arguments = dict(ARGUMENTS[name])
    if arguments:
        arguments["number"] = number
    return Example.model_validate({
        "example_id": f"{NAMES.index(name):02}{number:014}",
        "group_id": f"g{number}",
        "trial_id": f"t{number}",
        "tool": name,
        "query": f"Request {number} with <tool_add> and ünïcode for {name}?",
        "origin": "explored",
        "arguments_json": canonical_json(arguments),
        "observation": f'{{"seen": {number}, "text": "<tool_x>"}}',
        "final_answer": f"It is {number}.",
        "split": split,
    })  # fmt: skip


def make_run(
    folder: Path, per_tool: int = 10, *overrides: str, splits: bool = True
) -> tuple[RunStore, list[Example], list[TrainRow]]:
    """Write a run; of each tool's examples one is for validation and one for testing."""
    store = open_store(str(folder))
    config = load_config(None, overrides)
    prompts = load_prompts()
    examples, rows = [], []
    for name in NAMES:
        for number in range(per_tool):
            held = {0: "test", 1: "validation"} if splits else {}
            examples.append(example(name, number, held.get(number, "train")))
    for one in examples:
        if one.split != "test":
            rows += training_rows(one, prompts, config.prepare.tool_responses)
    dialog = (Message(role="user", content="Say <tool_add> in French"),)
    rows.append(general_row(dialog, "Je ne <tool_sais> pas", "train", prompts))
    rows.append(general_no_call_row(dialog, "Bonjour", "train", prompts))
    rows.append(absent_tool_row("Tell me a secret", HELD_OUT, "train", prompts))
    explored = [spec(name) for name in [*NAMES, HELD_OUT]]
    store.write_json(layout.TOOLS, [one.model_dump(mode="json") for one in explored])
    store.write_json("explore/models.json", {"explorer": "some-model"})
    listed = [{"name": name, "toolken": toolken(name), "description": "d"} for name in NAMES]
    store.write_json(layout.PREPARED_TOOLS, listed)
    write_records(store, "prepare/examples/part-00000.parquet", examples, Example)
    write_records(store, "prepare/rows/part-00000.parquet", rows, TrainRow)
    write_manifest(
        store,
        StageManifest(
            stage="prepare",
            config=config.stage_fields("prepare"),
            config_fingerprint="f",
            inputs={"prompts": prompts.fingerprint},
            code_version="1.2.3",
            started_at=time.time(),
            seconds=1.0,
            seed=0,
            notes=("a note of the stage",),
        ),
    )
    return store, examples, rows

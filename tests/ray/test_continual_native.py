"""Rounds of tools that are trained, and tested, in the native form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from exports.prepared_run import NAMES, make_run

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import Prediction, TrainRow
from ste_ray.core.scoring.continual import ContinualSummary
from ste_ray.core.toolkens import TOOLKENS_FILE
from ste_ray.stages.base import StageContext
from ste_ray.stages.registry import run_stages
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import read_records, write_records

BATCHES = (NAMES[:2], NAMES[2:])
CONFIG: dict[str, Any] = {
    "retrieve": {"num_tools": 2, "num_demonstrations": 0},
    "train": {
        "format": "native",
        "tools_per_row": 2,
        "model": {"vocab_size": 600, "hidden_size": 32, "num_layers": 1, "num_heads": 2},
        "max_steps": 2,
        "examples_per_step": 4,
        "num_workers": 1,
    },
    "infer": {"max_new_tokens": 8},
    "continual": {"variants": ["replay"], "setting": "tuned/native"},
}


def in_rounds(store: RunStore, rows: list[TrainRow]) -> None:
    """Write the rounds of two batches of tools, the second with what it replays."""
    store.write_json(layout.ROUNDS_INDEX, [{"tools": tools} for tools in BATCHES])
    for number in range(len(BATCHES)):
        known = {tool for tools in BATCHES[: number + 1] for tool in tools}
        found = [row for row in rows if row.tool in known]
        write_records(store, f"{layout.round_rows(number)}/part-00000.parquet", found, TrainRow)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_each_round_goes_on_in_the_form_of_the_one_before(tmp_path: Path) -> None:
    store, _, rows = make_run(tmp_path / "run")
    in_rounds(store, rows)
    config = Config.model_validate(CONFIG)
    run_stages(("continual",), StageContext(config=config, store=store, progress=print))

    summary = ContinualSummary.model_validate(store.read_json(layout.CONTINUAL_SUMMARY))
    assert summary.setting == "tuned/native"
    (replay,) = summary.variants
    tested = [one.batches[-1].figures.n for one in replay.rounds]
    assert tested == [2, 4]  # one test request of each tool so far

    children = [store.below(layout.round_run("replay", number)) for number in (0, 1)]
    templates = []
    for child in children:
        templates.append(child.read_bytes(f"{layout.TUNED_MODEL}/chat_template.jinja"))
        assert not child.exists(f"{layout.TUNED_MODEL}/{TOOLKENS_FILE}")
        answered = read_records(child, layout.PREDICTIONS, Prediction)
        assert {one.setting for one in answered} == {"tuned/native"}
        assert all(one.native and not one.error for one in answered)
    assert templates[0] == templates[1]
    assert b"<tool_call>" in templates[0]
    base = children[1].read_json(layout.BASE_MARKER)["base"]
    assert base == children[0].address(layout.TUNED_MODEL)
    trained = {row.tool for row in read_records(children[1], layout.ROWS, TrainRow)}
    assert trained >= set(NAMES)

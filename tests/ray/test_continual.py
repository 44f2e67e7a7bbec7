"""Rounds of tools on a real Ray: what each is trained on and tested on, and where a run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import Prediction, TrainRow
from ste_ray.core.scoring.continual import ContinualSummary
from ste_ray.errors import StageInputError
from ste_ray.stages.base import StageContext
from ste_ray.stages.continual import stage as continual
from ste_ray.stages.registry import run_stages
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.tables import read_records

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.slow]

ROUNDS = [["add_date", "airport"], ["roman_encode", "iban_check"]]


def configured(tmp_path: Path) -> Config:
    general = tmp_path / "general.json"
    general.write_text(
        json.dumps(
            [
                {
                    "dialog_history": [{"role": "user", "content": f"say {number}"}],
                    "response": f"it is {number}",
                }
                for number in range(30)
            ]
        )
    )
    values: dict[str, Any] = {
        # One of them stands in no round.
        "tools": {"include": ["card_check", *(name for names in ROUNDS for name in names)]},
        "explore": {"episodes_per_tool": 4, "trials_per_episode": 3},
        "prepare": {
            "judge": False,
            "max_paraphrases": 2,
            "test_fraction": 0.3,
            "tool_responses": False,
            "no_call": {"general": 3, "test": 4},
            "mix": {
                "rounds": ROUNDS,
                "replay_fraction": 0.5,
                "general_data": str(general),
                "general_examples": 10,
                "general_held_out": 8,
            },
        },
        "train": {
            "model": {"vocab_size": 320, "hidden_size": 32, "num_layers": 1, "num_heads": 2},
            "max_steps": 4,
            "examples_per_step": 8,
            "num_workers": 1,
        },
        "infer": {"max_new_tokens": 8},
        "continual": {"variants": ["replay", "no_replay", "joint"]},
    }
    return Config.model_validate(values)


def rows(store: RunStore, folder: str) -> list[TrainRow]:
    return read_records(store.below(folder), layout.ROWS, TrainRow)


def trained_tools(store: RunStore, folder: str) -> set[str]:
    return {row.tool for row in rows(store, folder) if row.split == "train" and row.tool}


def test_rounds_are_trained_tested_and_compared(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    said: list[str] = []
    config = configured(tmp_path)

    def run(*stages: str) -> None:
        run_stages(stages, StageContext(config=config, store=store, progress=said.append))

    run("explore", "prepare")
    with pytest.MonkeyPatch.context() as patch:
        # The second round of the first variant ends before it is tested.
        bodies = dict(continual._BODIES)

        def broken(context: StageContext) -> dict[str, Any]:
            if "round-01" in context.store.uri:
                raise StageInputError("cut off")
            return bodies["infer"](context)

        patch.setitem(continual._BODIES, "infer", broken)
        with pytest.raises(StageInputError, match="cut off"):
            run("continual")
    trained = sum("step 4/4" in line for line in said)
    assert trained == 2
    said.clear()
    run("continual")
    # Of the first variant nothing is trained again; then one round without replay, and all at once.
    assert sum("step 4/4" in line for line in said) == 2

    first, second = (set(names) for names in ROUNDS)
    assert trained_tools(store, "continual/round-00") == first
    assert trained_tools(store, "continual/replay/round-01") == first | second
    assert trained_tools(store, "continual/no_replay/round-01") == second
    assert trained_tools(store, layout.JOINT_ROUND) == first | second
    replayed = [row for row in rows(store, "continual/replay/round-01") if row.tool in first]
    whole = [row for row in rows(store, layout.JOINT_ROUND) if row.tool in first]
    assert 0 < len(replayed) < len(whole)
    toolkens = store.below("continual/replay/round-01").read_json("train/model/toolkens.json")
    assert all(name in json.dumps(toolkens) for name in first | second)

    summary = ContinualSummary.model_validate(store.read_json(layout.CONTINUAL_SUMMARY))
    assert [one.variant for one in summary.variants] == ["replay", "no_replay", "joint"]
    replay, without, joint = summary.variants
    assert [one.batch for one in replay.rounds[0].batches] == [0, None]
    assert [one.batch for one in replay.rounds[1].batches] == [0, 1, None]
    assert replay.rounds[0].batches == without.rounds[0].batches  # the same training
    assert joint.rounds[0].batches[-1].figures.n == replay.rounds[1].batches[-1].figures.n
    for variant in summary.variants:
        for one in variant.rounds:
            assert one.general is not None
            assert one.general.rows == 8
            assert one.restraint is not None
            assert one.restraint.n == 4
    losses = {one.rounds[-1].general.loss for one in summary.variants if one.rounds[-1].general}
    assert len(losses) == 3
    tested = read_records(store.below(layout.JOINT_ROUND), layout.PREDICTIONS, Prediction)
    assert {one.tool for one in tested} <= first | second | {""}
    page = store.read_bytes("report.html").decode()
    assert "Rounds of tools" in page
    assert "65.0%" in page  # of the published study
    assert "A script explored, not a language model" in page
    card = store.below(layout.JOINT_ROUND).read_bytes("train/model/README.md").decode()
    assert "explored by | a script" in card
    assert not store.below(layout.JOINT_ROUND).list(layout.BASE_MODEL)


def test_data_without_rounds_are_refused(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    context = StageContext(config=Config(), store=store, progress=lambda _: None)
    with pytest.raises(StageInputError, match=r"prepare\.mix\.rounds"):
        continual.run(context)

"""A trained and evaluated run, written without running anything: what an update goes on from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.preparing.formatting import absent_tool_row, general_row, training_rows
from ste_ray.core.preparing.ledger import LedgerTotals, ToolTotals
from ste_ray.core.records import (
    Episode,
    Example,
    Judgment,
    LedgerEntry,
    Message,
    TrainRow,
    Trial,
    Turn,
    canonical_json,
)
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.toolkens import toolken
from ste_ray.resources import resource_folder
from ste_ray.stages.base import load_prompts
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import declare_stage
from ste_ray.store.tables import write_records
from ste_ray.tools.spec.files import read_tool_files
from tests.evaluated_run import write_evaluated
from tests.tiny_model import save_tiny_model

HELD_OUT = "secret_tool"
SETTING = "tuned/toolken"


def shipped_specs(names: Sequence[str]) -> list[ToolSpec]:
    """Return shipped tools by their names."""
    return [_shipped()[name] for name in names]


@cache
def _shipped() -> Mapping[str, ToolSpec]:
    return read_tool_files(("builtin",), (), shipped=resource_folder("tool_metadata")).specs


def write_trained_run(
    folder: Path, names: Sequence[str], per_tool: int = 6, *, loads: bool = False
) -> RunStore:
    """Write a run of shipped tools; of each tool's examples one is a test, one for validation.

    Args:
        folder: of the run.
        names: of the tools.
        per_tool: examples.
        loads: whether its model is one that can be loaded.
    """
    store = open_store(str(folder))
    write_data(store, shipped_specs(names), names, per_tool)
    if loads:
        save_tiny_model(folder / layout.TUNED_MODEL)
    else:
        store.write_json(f"{layout.TUNED_MODEL}/config.json", {})
    listed = [{"tool": name, "toolken": toolken(name), "id": 5} for name in names]
    store.write_json(layout.TRAINED_TOOLKENS, listed)
    fields = Config().stage_fields("train")
    declare_stage(store, "train", fields, {}, started_at=time.time())
    write_evaluated(store, {SETTING: [(name, 0, "correct") for name in names]})
    return store


def write_data(
    store: RunStore, specs: Sequence[ToolSpec], names: Sequence[str], per_tool: int = 6
) -> None:
    """Write ``explore`` and ``prepare`` of a run.

    Args:
        store: the run.
        specs: the tools that it knows.
        names: those that it has data of.
        per_tool: examples, one for each trial.
    """
    prompts = load_prompts()
    examples = [example(name, number) for name in sorted(names) for number in range(per_tool)]
    rows: list[TrainRow] = []
    for one in examples:
        if one.split != "test":
            rows += training_rows(one, prompts, tool_responses=False)
    listed = [spec.model_dump(mode="json") for spec in specs]
    store.write_json(layout.TOOLS, listed)
    episodes = [_episode(name, number) for name in sorted(names) for number in range(per_tool)]
    write_records(store, layout.part(layout.EPISODES, 0), episodes, Episode)
    config = Config()
    counts = {"tools": len(specs), "episodes": len(episodes)}
    declare_stage(store, "explore", config.stage_fields("explore"), counts, started_at=time.time())
    write_records(store, layout.part(layout.EXAMPLES, 0), examples, Example)
    write_records(store, layout.part(layout.ROWS, 0), rows, TrainRow)
    dialog = (Message(role="user", content="Say hello in French"),)
    general = [general_row(dialog, "Bonjour", "train", prompts)]
    general.append(absent_tool_row("Tell me a secret", HELD_OUT, "train", prompts))
    write_records(store, layout.GENERAL_ROWS, general, TrainRow)
    judgments = [_judgment(one.trial_id) for one in examples]
    write_records(store, layout.part(layout.JUDGMENTS, 0), judgments, Judgment)
    ledger = [_entry(one) for one in examples]
    write_records(store, layout.part(layout.LEDGER, 0), ledger, LedgerEntry)
    totals = [
        ToolTotals(tool=name, kept=per_tool, train=per_tool - 2, validation=1, test=1)
        for name in sorted(names)
    ]
    found = LedgerTotals(tools=tuple(totals), reasons=())
    store.write_json(layout.LEDGER_TOTALS, found.model_dump(mode="json"))
    tools = [
        {"name": name, "toolken": toolken(name), "description": "d", "examples": {}}
        for name in sorted(names)
    ]
    store.write_json(layout.PREPARED_TOOLS, tools)
    declare_stage(
        store, "prepare", config.stage_fields("prepare"), {"tools": len(names)},
        started_at=time.time(),
    )  # fmt: skip


def example(name: str, number: int) -> Example:
    """Return an example of a tool; the first is a test, the second for validation."""
    values: dict[str, Any] = {
        "example_id": f"{name}-{number}",
        "group_id": f"group-{name}-{number}",
        "trial_id": f"trial-{name}-{number}",
        "tool": name,
        "query": f"Request {number} for {name}?",
        "origin": "explored",
        "arguments_json": canonical_json({"number": number}),
        "observation": "seen",
        "final_answer": "It is so.",
        "split": {0: "test", 1: "validation"}.get(number, "train"),
    }
    return Example.model_validate(values)


def _episode(name: str, number: int) -> Episode:
    one = example(name, number)
    call = Turn(
        reply_index=1,
        reply_text="…",
        kind="tool_call",
        tool=name,
        arguments_json=one.arguments_json,
        observation="seen",
        observation_status="ok",
    )
    trial = Trial(
        trial_id=one.trial_id,
        episode_id=f"episode-{name}-{number}",
        tool=name,
        episode_number=number,
        trial_number=0,
        query=one.query,
        query_text=one.query,
        memory_shown=0,
        turns=(call,),
        final_answer="It is so.",
        outcome="finished",
        solved="yes",
        replies=3,
    )
    return Episode(
        episode_id=f"episode-{name}-{number}",
        tool=name,
        tool_fingerprint="f",
        episode_number=number,
        messages=(),
        trials=(trial,),
    )


def _judgment(trial_id: str) -> Judgment:
    return Judgment(trial_id=trial_id, informative="yes", faithful="yes", appropriate="yes")


def _entry(one: Example) -> LedgerEntry:
    return LedgerEntry(
        query_id=f"{one.trial_id}-0",
        trial_id=one.trial_id,
        tool=one.tool,
        query=one.query,
        origin="explored",
        status="kept",
        step="split",
        reason="",
    )

"""Synthetic explorations of any size, written without exploring."""

from __future__ import annotations

import random
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa

from ste_ray import __version__
from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import Episode, canonical_json, fingerprint
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import StageManifest, write_manifest
from ste_ray.store.schema import arrow_schema, columns_of
from ste_ray.store.tables import encode_table

NUM_TOOLS = 200
TRIALS_PER_EPISODE = 4
_PLACES = (
    "Lisbon",
    "Oslo",
    "Nairobi",
    "Quito",
    "Hanoi",
    "Perth",
    "Tunis",
    "Riga",
    "Cusco",
    "Turin",
)
_FORMS = (
    "Could you look up record {n} of {place} for me and say what stands there on page {page}?",
    "I need the entry {n} from the {place} archive, page {page}; it is for a report on Monday.",
    "What does page {page} of file number {n} say about {place}? A short answer will do.",
    "Please find {place} in volume {n} and read me what is written on page {page} of it.",
)


def write_exploration(folder: Path, num_trials: int) -> RunStore:
    """Write a finished exploration of 200 tools.

    Of the trials 10 % have no answer, 5 % repeat an earlier query and 5 % repeat one nearly, for
    the same call.
    """
    store = open_store(str(folder))
    specs = [_spec(number) for number in range(NUM_TOOLS)]
    store.write_json(layout.TOOLS, [spec.model_dump(mode="json") for spec in specs])
    episodes_per_tool = num_trials // NUM_TOOLS // TRIALS_PER_EPISODE
    for number, spec in enumerate(specs):
        rng = random.Random(number)
        episodes = [_episode(spec, at, rng) for at in range(episodes_per_tool)]
        table = pa.Table.from_arrays(columns_of(episodes, Episode), schema=arrow_schema(Episode))
        store.write_bytes(f"explore/episodes/part-{number:05d}.parquet", encode_table(table))
    config = Config()
    write_manifest(
        store,
        StageManifest(
            stage="explore",
            config=config.stage_fields("explore"),
            config_fingerprint=config.stage_fingerprint("explore"),
            inputs={},
            code_version=__version__,
            started_at=time.time(),
            seconds=0.0,
            counts={"trials": num_trials},
            notes=(),
            seed=0,
        ),
    )
    return store


def _spec(number: int) -> ToolSpec:
    names = ("volume", "page", "place")
    return ToolSpec(
        name=f"archive_{number:05d}",
        description=f"Reads a page of archive {number}.",
        effect="read_only",
        executor={"kind": "python", "target": "builtins:dict"},
        parameters={"type": "object", "properties": {name: {"type": "string"} for name in names}},
    )


def _episode(spec: ToolSpec, number: int, rng: random.Random) -> SimpleNamespace:
    identity = fingerprint(spec.name, number)
    message = SimpleNamespace(role="user", content="the conversation, which prepare does not read")
    return SimpleNamespace(
        schema_version=1,
        episode_id=identity,
        tool=spec.name,
        tool_fingerprint="0",
        episode_number=number,
        messages=(message,) * 3,
        trials=tuple(
            _trial(spec.name, identity, number, at, rng) for at in range(TRIALS_PER_EPISODE)
        ),
        models=("synthetic",),
    )


def _trial(tool: str, episode: str, number: int, at: int, rng: random.Random) -> SimpleNamespace:
    kind, serial = rng.random(), number * TRIALS_PER_EPISODE + at
    if 0.10 <= kind < 0.20 and serial:
        serial = rng.randrange(serial)  # the query of an earlier trial, in its words or nearly so
    place = _PLACES[serial % len(_PLACES)]
    query = _FORMS[serial % len(_FORMS)].format(n=serial, place=place, page=serial % 97)
    if 0.15 <= kind < 0.20:
        query = f"{query} Thanks!"
    arguments = canonical_json({"volume": str(serial), "page": str(serial % 97), "place": place})
    answer = f"Page {serial % 97} says that {place} was first named in entry {serial}."
    return SimpleNamespace(
        schema_version=1,
        trial_id=f"{episode}-{at}",
        episode_id=episode,
        tool=tool,
        episode_number=number,
        trial_number=at,
        query=query,
        query_text=query,
        memory_shown=0,
        memory_episodes=0,
        turns=(
            _turn("tool_call", tool, arguments, f'{{"text": "{answer}", "page": {serial % 97}}}'),
            _turn("final_answer", tool, arguments, answer),
        ),
        final_answer=answer,
        outcome="out_of_turns" if kind < 0.10 else "finished",
        outcome_detail="",
        solved="yes",
        reflection_text="Yes.",
        faults=(),
        prompt_tokens=900,
        completion_tokens=90,
    )


def _turn(kind: str, tool: str, arguments: str, text: str) -> SimpleNamespace:
    called = kind == "tool_call"
    return SimpleNamespace(
        reply_index=1 if called else 3,
        reply_text=f"Action: {tool}\nAction Input: {arguments}" if called else text,
        kind=kind,
        thought="I look it up." if called else "",
        tool=tool if called else "",
        arguments_text=arguments if called else "",
        arguments_json=arguments if called else "",
        final_answer="" if called else text,
        failure_kind="",
        failure_message="",
        observation=text if called else "",
        observation_status="ok" if called else "none",
        observation_source="called",
        observation_chars=len(text) if called else 0,
        seconds=0.01 if called else 0.0,
    )

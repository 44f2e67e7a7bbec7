"""What a run holds to check a deployed model by: test requests, and the answers of a setting."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.inferring.settings import PromptMaterial, Query, Setting, parse_settings
from ste_ray.core.records import Prediction
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.errors import StageInputError
from ste_ray.stages.ask.recorded import recorded_values
from ste_ray.stages.base import StageContext
from ste_ray.stages.infer.queries import load_queries
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import read_manifest
from ste_ray.store.tables import read_records

_PREFERRED = ("tuned/native", "tuned/toolken")
# How long an endpoint that fails is waited for, and a reply of one that is slow. Whoever checks a
# server waits for the answer, unlike an exploration of hours.
_LLM = {"patience_seconds": 60.0, "request_timeout_seconds": 600.0}


@dataclass(frozen=True)
class CheckedRun:
    """The requests of a run, with what was recorded of them in a setting.

    Attributes:
        setting: the setting.
        requests: query and recorded answer, by id.
        material: what prompts are made of.
        learned: names of the tools that the run has taught.
    """

    setting: Setting
    requests: tuple[tuple[Query, Prediction], ...]
    material: PromptMaterial
    learned: tuple[str, ...]


def values_of_run(store: RunStore) -> dict[str, Any]:
    """Return configuration values by section with which requests go as ``infer`` made them."""
    values = recorded_values(store)
    recorded = _infer_section(store)
    if "tool_choice" in recorded:
        values["infer"]["tool_choice"] = recorded["tool_choice"]
    return {**values, "llm": _LLM}


def load_checked_run(
    store: RunStore,
    config: Config,
    setting: str | None,
    limit: int | None,
    say: Callable[[str], None],
) -> CheckedRun:
    """Read the test requests of a run and their answers in a setting.

    Args:
        store: the run; nothing is written into it.
        config: the whole configuration, with ``values_of_run`` below it.
        setting: ``MODEL/PROMPT``; None: that of the run's trained model.
        limit: of the requests, the first ones by id; None: all.
        say: tells what a reader of the figures must know.

    Raises:
        ConfigError: there is no such setting.
        StageInputError: there is no run, the setting has no answers, or there is nothing to
            compare with.
    """
    chosen = _chosen(store, config, setting, say)
    context = StageContext(config=config, store=store, progress=say)
    queries, material = load_queries(context, [chosen])
    by_id = {query.example.example_id: query for query in queries}
    folder = layout.predictions(chosen.folder_name)
    recorded = sorted(read_records(store, folder, Prediction), key=lambda one: one.example_id)
    if lost := [one.example_id for one in recorded if one.example_id not in by_id]:
        raise StageInputError(
            f"{store.address(folder)!r} answers {lost[0]!r}, no test request of the run; it was"
            " made from other data: run infer again, in another run"
        )
    kept = recorded[:limit]
    if not any(not one.error for one in kept):
        raise StageInputError(
            f"all {len(kept)} answers in {store.address(folder)!r} are errors, such as"
            f" {kept[0].error!r}: there is nothing to compare with; run infer in another setting"
            if kept
            else f"there are no answers in {store.address(folder)!r}; run infer again"
        )
    for note in _notes(_infer_section(store)):
        say(f"check: {note}")
    requests = tuple((by_id[one.example_id], one) for one in kept)
    return CheckedRun(chosen, requests, material, _learned(store, material))


def _chosen(
    store: RunStore, config: Config, setting: str | None, say: Callable[[str], None]
) -> Setting:
    if not store.exists(layout.TOOLS):
        raise StageInputError(
            f"there is no run at {store.uri!r}: {store.address(layout.TOOLS)!r} is missing; give"
            " the --run of a stage"
        )
    answered = _answered(store)
    if not answered:
        raise StageInputError(
            f"the run {store.uri!r} has no complete answers to compare with, in"
            f" {store.address(layout.PREDICTIONS)!r}; run 'ste-ray infer --run"
            f" {shlex.quote(store.uri)}' first"
        )
    if setting is None:
        setting = next((one for one in _PREFERRED if one in answered), None)
        if setting is None:
            raise StageInputError(
                f"the run {store.uri!r} has no answers of {' or '.join(_PREFERRED)}; name one of"
                f" its settings by --setting: {', '.join(answered)}"
            )
        say(f"check: compares with the run's setting {setting!r}; --setting names another")
    (chosen,) = parse_settings([setting], config.infer.models, "--setting")
    if setting not in answered:
        raise StageInputError(
            f"the run {store.uri!r} has no complete answers of the setting {setting!r}"
            f"{did_you_mean(setting, answered)}; it has those of {', '.join(answered)}"
        )
    return chosen


def _answered(store: RunStore) -> list[str]:
    """Return the settings whose answers are complete."""
    under = f"{layout.PREDICTIONS}/"
    folders = {path.removeprefix(under).partition("/")[0] for path in store.list(under[:-1])}
    complete = [one for one in folders if store.exists(layout.predictions_marker(one))]
    return sorted(one.replace("-", "/", 1) for one in complete)


def _learned(store: RunStore, material: PromptMaterial) -> tuple[str, ...]:
    """Return the tools in the run's data; of a run without any noted, all its tools."""
    try:
        listed = [tool["name"] for tool in store.read_json(layout.PREPARED_TOOLS)]
    except FileNotFoundError:
        listed = list(material.specs)
    return tuple(sorted(name for name in listed if name in material.specs))


def _infer_section(store: RunStore) -> Mapping[str, Any]:
    manifest = read_manifest(store, "infer")
    found = manifest.config.get("infer") if manifest is not None else None
    return found if isinstance(found, dict) else {}


def _notes(recorded: Mapping[str, Any]) -> list[str]:
    """Return what of the recorded answers a server need not have in common with them."""
    found = []
    if recorded.get("constrained"):
        found.append(
            "the recorded answers were bound to calls (infer.constrained=true), which a server"
            " need not be"
        )
    if recorded.get("temperature"):
        found.append(
            f"the recorded answers were sampled (infer.temperature={recorded['temperature']:g}):"
            " calls differ by chance too"
        )
    return found

"""What a run says of itself to whoever asks it: its settings, and how its model calls tools."""

from __future__ import annotations

import shlex
from typing import Any

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.inferring.settings import ENDPOINT, OWN_PROMPTS
from ste_ray.core.records import Example
from ste_ray.core.section import Section
from ste_ray.core.toolkens import TOOLKENS_FILE
from ste_ray.errors import StageInputError
from ste_ray.generation.config import InferConfig
from ste_ray.retrieval.config import RetrieveConfig
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import read_manifest
from ste_ray.store.tables import iter_records, parquet_files

# Which settings were answered, whether calls were executed, and what bound answers to calls, was
# for the test alone.
_OF_THE_TEST = ("settings", "execute", "constrained", "tool_choice")
# What decides what tools answer. Permissions hold for the stage alone that they were given to.
_OF_TOOLS = ("today", "toolbench_form")


def recorded_values(store: RunStore) -> dict[str, Any]:
    """Return configuration values by section, as the stages of the run had them.

    Those that decide what a model is shown and how it is decoded: of ``retrieve``, ``infer``, the
    seed, and what decides what tools answer. What gives a permission is not among them.
    """
    values: dict[str, Any] = {}
    if (manifest := read_manifest(store, "retrieve")) is not None:
        values["retrieve"] = _known(manifest.config.get("retrieve"), RetrieveConfig)
    if (manifest := read_manifest(store, "infer")) is not None:
        found = _known(manifest.config.get("infer"), InferConfig)
        values["infer"] = {key: found[key] for key in found if key not in _OF_THE_TEST}
    if (manifest := read_manifest(store, "explore")) is not None:
        tools = manifest.config.get("tools") or {}
        values["tools"] = {key: tools[key] for key in _OF_TOOLS if key in tools}
        if "seed" in manifest.config:
            values["seed"] = manifest.config["seed"]
    return values


def default_setting(store: RunStore) -> tuple[str, str]:
    """Return the setting in which the run's trained model is asked, and why that one.

    Raises:
        StageInputError: the run has no trained model.
    """
    if not store.exists(f"{layout.TUNED_MODEL}/config.json"):
        raise StageInputError(
            f"there is no trained model in {store.address(layout.TUNED_MODEL)!r}; run 'ste-ray"
            f" train --run {shlex.quote(store.uri)}' first, or name who is asked by --setting,"
            " such as endpoint/retrieved"
        )
    if _calls_natively(store):  # also where its base had toolkens already
        return "tuned/native", "the run's trained model, which was trained on native calls"
    if has_toolkens(store):
        return "tuned/toolken", "the run's trained model, which has toolkens"
    return "tuned/retrieved", "the run's trained model, which has no toolkens"


def possible_settings(store: RunStore, config: Config) -> list[str]:
    """Return the settings that the run has all for; those of endpoints are possible with one."""
    found = []
    demonstrates = not config.retrieve.num_demonstrations or any(
        one.split == "train"
        for path in parquet_files(store, layout.EXAMPLES)
        for one in iter_records(store, path, Example)
    )
    prompts = [
        prompt
        for prompt in OWN_PROMPTS
        if prompt != "toolken" and (demonstrates or not prompt.endswith("icl"))
    ]
    for model, folder in layout.RUN_MODELS.items():
        if store.exists(f"{folder}/config.json"):
            own_form = ["native"] if _calls_natively(store) else []
            own_form += ["toolken"] if has_toolkens(store) else []
            first = own_form if model == "tuned" else []
            found += [f"{model}/{prompt}" for prompt in dict.fromkeys((*first, *prompts))]
    own = (*config.infer.models, ENDPOINT)
    return found + [f"{model}/{prompt}" for model in own for prompt in prompts]


def has_toolkens(store: RunStore) -> bool:
    """Whether the run's trained model has toolkens."""
    try:
        listed = store.read_json(f"{layout.TUNED_MODEL}/{TOOLKENS_FILE}")
    except FileNotFoundError:
        return False
    return isinstance(listed, dict) and bool(listed.get("tools"))


def _calls_natively(store: RunStore) -> bool:
    """Whether the run's model was trained in the native form."""
    manifest = read_manifest(store, "train")
    trained = manifest.config.get("train") if manifest is not None else None
    return isinstance(trained, dict) and trained.get("format") == "native"


def _known(fields: Any, section: type[Section]) -> dict[str, Any]:
    """Return the fields that the section has still; those that are settled it has no more."""
    given = fields if isinstance(fields, dict) else {}
    return {name: given[name] for name in section.model_fields if name in given}

"""What a stage reads, and the fingerprints by which a change of it is noticed."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.inferring.settings import RUN_MODELS, parse_settings
from ste_ray.core.records import fingerprint
from ste_ray.errors import ConfigError, StageInputError
from ste_ray.stages.base import StageContext
from ste_ray.stages.imports.edited_tests import edited_tests_fingerprint
from ste_ray.stages.prepare.general import open_general_data
from ste_ray.stages.shared.confusions import confused_pairs, confused_tools
from ste_ray.stages.shared.tools import catalogue_specs
from ste_ray.store.manifest import manifest_fingerprint, read_manifest

# The stages whose artifacts a stage reads; see ``inputs_of`` for infer.
INPUTS: dict[str, tuple[str, ...]] = {
    "explore": (),
    "prepare": ("explore",),
    "retrieve": ("prepare",),
    "train": ("prepare",),
    "evaluate": ("infer",),
    "continual": ("prepare",),
}
USES_PROMPTS = ("explore", "prepare", "infer", "evaluate")
READS_TESTS = ("retrieve", "infer", "continual")


def input_fingerprints(stage: str, context: StageContext) -> dict[str, str]:
    """Identify everything besides the configuration that decides what the stage makes."""
    store = context.store
    prints = {"prompts": context.prompts.fingerprint} if stage in USES_PROMPTS else {}
    if _calls_natively(stage, context.config):
        prints["native_prompts"] = context.prompts.native_fingerprint
    if stage == "explore":
        prints |= _explore_fingerprints(context)
    prints |= _catalogue_fingerprint(stage, context.config)
    general_data = context.config.prepare.mix.general_data
    if stage == "prepare" and general_data:
        prints["general_data"] = open_general_data(general_data).fingerprint
    tests = context.config.prepare.tests
    if stage == "prepare" and tests.written:
        prints["test_prompts"] = context.prompts.test_fingerprint
        if tests.confused_in:
            prints["confused_in"] = fingerprint(confused_tools(tests.confused_in))
    if stage == "evaluate":
        prints |= _judge_fingerprints(context)
    for earlier in inputs_of(stage, context.config):
        manifest = read_manifest(store, earlier)
        if manifest is None:
            raise StageInputError(
                f"{stage} needs the artifacts of {earlier}, which is not complete in "
                f"{store.uri!r}; run 'ste-ray {earlier} --run {shlex.quote(store.uri)}' first"
            )
        prints[earlier] = manifest_fingerprint(manifest)
    if stage in READS_TESTS and (edited := edited_tests_fingerprint(store)):
        prints["tests"] = edited
    return prints


def _explore_fingerprints(context: StageContext) -> dict[str, str]:
    section = context.config.explore
    prints = {
        "tools": fingerprint(
            [
                spec.model_dump(mode="json", exclude={"requests_per_minute", "concurrency"})
                for spec in context.configured_tools.specs.values()
            ]
        )
    }
    if section.suggests:
        prints["plan_prompts"] = context.prompts.plan_fingerprint
    if section.confused_in:
        prints["confused_in"] = fingerprint(confused_pairs(section.confused_in))
    if context.store.exists(layout.EARLIER_MEMORY):
        prints["remembered"] = fingerprint(context.store.read_json(layout.EARLIER_MEMORY))
    return prints


def _judge_fingerprints(context: StageContext) -> dict[str, str]:
    """Identify what the scorer is asked with and measured on; nothing where it is not asked."""
    judge = context.config.evaluate.judge
    if not judge.enabled:
        return {}
    prints = {"answer_prompts": context.prompts.answer_fingerprint}
    if judge.labels:
        prints["judge_labels"] = _file_fingerprint(judge.labels, "evaluate.judge.labels")
    return prints


def _catalogue_fingerprint(stage: str, config: Config) -> dict[str, str]:
    """Identify the further tools that prompts show; nothing where they show none."""
    if stage != "infer" or not config.infer.sweep:
        return {}
    catalogue = catalogue_specs(config.infer.catalogue)
    shown = [(one.name, one.description, one.parameters) for one in catalogue.values()]
    return {"catalogue": fingerprint(shown)}


def _calls_natively(stage: str, config: Config) -> bool:
    if stage == "infer":
        settings = parse_settings(config.infer.settings, config.infer.models)
        return any(setting.is_native for setting in settings)
    if stage in ("train", "continual"):
        return config.train.format == "native"
    return stage == "explore" and config.explore.protocol == "native"


def check_format(stages: Sequence[str], config: Config) -> None:
    """Refuse settings that need toolkens of a model that these stages train without them.

    Raises:
        ConfigError: naming the setting, and one that is possible.
    """
    if config.train.format != "native":
        return
    key = ""
    if {"train", "infer"} <= set(stages) and "tuned/toolken" in config.infer.settings:
        key = "infer.settings"
    if "continual" in stages and config.continual.setting == "tuned/toolken":
        key = "continual.setting"
    if key:
        raise ConfigError(
            f"{key} asks 'tuned/toolken', and train.format='native' trains no toolkens; set"
            " 'tuned/native' there, or train.format=toolken"
        )


def _file_fingerprint(path: str, key: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ConfigError(
            f"{key}={path!r} cannot be read ({error.strerror}); give an existing file"
        ) from None


def inputs_of(stage: str, config: Config) -> tuple[str, ...]:
    """Return the stages whose artifacts ``stage`` reads as it is configured.

    Raises:
        ConfigError: a setting of infer is unknown.
    """
    if stage != "infer":
        return INPUTS[stage]
    settings = parse_settings(config.infer.settings, config.infer.models)
    retrieves = any(setting.needs_retrieval for setting in settings)
    trains = any(setting.model in RUN_MODELS for setting in settings)
    return ("retrieve" if retrieves else "prepare", *(["train"] if trains else []))

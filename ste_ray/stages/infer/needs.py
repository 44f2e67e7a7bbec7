"""What inference needs, a model and a place for it, checked before any actor starts."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from ste_ray.chat_tokens.served_toolkens.chat_template import without_toolkens
from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.inferring.settings import RUN_MODELS, Setting
from ste_ray.errors import ConfigError, StageInputError
from ste_ray.generation.config import InferConfig
from ste_ray.generation.model import load_tokenizer, position_limit
from ste_ray.generation.native import check_tool_choice, native_chat
from ste_ray.generation.prompting import max_prompt_tokens
from ste_ray.stages.cluster.nodes import Need
from ste_ray.stages.infer.models import loading_of, tokenizer_folder
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.training.base import has_weights


def check_model(store: RunStore, setting: Setting, config: Config) -> None:
    """Check before any actor starts what would fail in all of them.

    Raises:
        ConfigError: there is no such model, it cannot be used, or the hub does not give it.
        StageInputError: the run has not trained it.
        TemporaryError: the hub cannot be reached.
    """
    if setting.is_endpoint:
        return
    if setting.model not in RUN_MODELS:
        _check_own_model(store, setting, config)
        return
    path = layout.RUN_MODELS[setting.model]
    try:
        found = store.read_json(f"{path}/config.json")
    except FileNotFoundError:
        raise StageInputError(
            f"setting {setting.name!r} needs the model in {store.address(path)!r}, which is not"
            f" there; run 'ste-ray train --run {shlex.quote(store.uri)}' first"
        ) from None
    _check_positions(found, config)


def check_native(store: RunStore, setting: Setting, config: Config) -> str:
    """Check before any actor starts that the model of a setting calls natively, if it has to.

    Returns:
        What is to be told of its chat template; empty: nothing.

    Raises:
        ConfigError: calls are required and nothing binds the model to them.
        ToolTemplateError: how its chat template writes calls, or turns, cannot be told.
        StageInputError: there is no tokenizer.
        TemporaryError: the hub cannot be reached.
    """
    if setting.is_endpoint or not setting.is_native:
        return ""
    check_tool_choice(setting, config.infer.tool_choice, config.infer.constrained)
    with tokenizer_folder(store, setting.model, config) as folder:
        tokenizer = load_tokenizer(folder, loading_of(config))
    own = without_toolkens(tokenizer.chat_template)
    native_chat(tokenizer, setting)
    if tokenizer.chat_template == own:
        return ""
    return (
        f"{setting.name}: the model's chat template shows no tools; it is asked with the template"
        " that train.format=native would give it"
    )


def _check_own_model(store: RunStore, setting: Setting, config: Config) -> None:
    given = config.infer.models[setting.model]
    if "://" in given:
        _check_stored_model(setting.model, given, config)
        return
    if given.startswith(("/", ".", "~")) and not Path(given).expanduser().is_dir():
        raise ConfigError(
            f"infer.models: {setting.model}={given!r} is no folder here; give the folder of a"
            " model that all nodes see, a hub name, or the URI of a model in a run"
        )
    with tokenizer_folder(store, setting.model, config) as folder:
        if (folder / "adapter_config.json").is_file():
            return
        path = folder / "config.json"
        if not path.is_file():
            raise ConfigError(
                f"infer.models: {setting.model}={given!r} holds neither config.json nor"
                " adapter_config.json; give the folder of a model, such as"
                f" RUN/{layout.TUNED_MODEL}"
            )
        if Path(given).expanduser().is_dir() and not has_weights(
            path.name for path in folder.iterdir()
        ):
            raise ConfigError(
                f"infer.models: {setting.model}={given!r} holds no weights in safetensors; give the"
                f" folder of a model, such as RUN/{layout.TUNED_MODEL}"
            )
        found = _read_config(path.read_bytes(), setting.model, given)
    _check_positions(found, config)


def _check_stored_model(name: str, uri: str, config: Config) -> None:
    """Check a model that the actors fetch, without its tokenizer."""
    store = open_store(uri)
    found = store.list()
    is_adapter = "adapter_config.json" in found
    lacking = ""
    if not is_adapter and "config.json" not in found:
        lacking = "neither config.json nor adapter_config.json"
    elif not has_weights(found):
        lacking = "no weights in safetensors"
    if lacking:
        raise ConfigError(
            f"infer.models: {name}={uri!r} holds {lacking}; give the URI of a model's folder, such"
            f" as s3://bucket/run/{layout.TUNED_MODEL}"
        )
    if not is_adapter:
        _check_positions(_read_config(store.read_bytes("config.json"), name, uri), config)


def _read_config(content: bytes, name: str, given: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ConfigError(
            f"infer.models: {name}={given!r}: config.json is no valid JSON ({error}); save the"
            " model again"
        ) from None
    if not isinstance(found, dict):
        raise ConfigError(
            f"infer.models: {name}={given!r}: config.json holds no object; save the model again"
        )
    return found


def _check_positions(found: dict[str, Any], config: Config) -> None:
    limit = position_limit(found.get("text_config", found))
    max_prompt_tokens(limit, config.infer.max_new_tokens)


def need_of_one(config: InferConfig) -> Need:
    """Return what one local model takes; the others may follow it."""
    cpus, gpus = float(config.threads_per_worker), 0.0
    setting, remedy = f"infer.threads_per_worker={config.threads_per_worker}", "lower it"
    if config.use_gpu:
        gpus = float(config.gpus_per_worker)
        setting = f"infer.use_gpu=true with infer.gpus_per_worker={config.gpus_per_worker}"
        setting += f" and infer.threads_per_worker={config.threads_per_worker}"
        remedy = "set infer.use_gpu=false, or lower the others"
    return Need(setting, 1, cpus, gpus, f"{remedy}, or give the cluster a larger node")


def described_need(config: InferConfig) -> str:
    """Say what a worker with a local model takes of the cluster."""
    if not config.use_gpu:
        return f"{config.threads_per_worker} CPUs (infer.threads_per_worker)"
    return f"{config.gpus_per_worker} GPUs (infer.gpus_per_worker)"

"""What inference needs, a model and a place for it, checked before any actor starts."""

from __future__ import annotations

import shlex
from pathlib import Path

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
from ste_ray.store.artifacts import RunStore


def check_model(store: RunStore, setting: Setting, config: InferConfig) -> None:
    """Check before any actor starts what would fail in all of them."""
    if setting.is_endpoint:
        return
    if setting.model not in RUN_MODELS:
        _check_own_model(setting, config)
        return
    path = layout.RUN_MODELS[setting.model]
    try:
        found = store.read_json(f"{path}/config.json")
    except FileNotFoundError:
        raise StageInputError(
            f"setting {setting.name!r} needs the model in {store.address(path)!r}, which is not"
            f" there; run 'ste-ray train --run {shlex.quote(store.uri)}' first"
        ) from None
    max_prompt_tokens(position_limit(found.get("text_config", found)), config.max_new_tokens)


def check_native(store: RunStore, setting: Setting, config: Config) -> None:
    """Check before any actor starts that the model of a setting calls natively, if it has to.

    Models of the hub are checked by the actors, which fetch them.

    Raises:
        ConfigError: calls are required and nothing binds the model to them.
        ToolTemplateError: its chat template knows no tools, or cannot be read.
        StageInputError: there is no tokenizer.
    """
    if setting.is_endpoint or not setting.is_native:
        return
    check_tool_choice(setting, config.infer.tool_choice, config.infer.constrained)
    with tokenizer_folder(store, setting.model, config) as folder:
        if folder is not None:
            native_chat(load_tokenizer(folder, loading_of(config)), setting)


def _check_own_model(setting: Setting, config: InferConfig) -> None:
    given = config.models[setting.model]
    folder = Path(given).expanduser()
    if not folder.is_dir():
        if given.startswith(("/", ".", "~")):
            raise ConfigError(
                f"infer.models: {setting.model}={given!r} is no folder here; give the folder of a"
                " model that all nodes see, a hub name, or the URI of a model in a run"
            )
        return  # a hub name or a URI, which the actors fetch
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise ConfigError(
            f"infer.models: {setting.model}={given!r} holds neither config.json nor"
            f" adapter_config.json; give the folder of a model, such as RUN/{layout.TUNED_MODEL}"
        )


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

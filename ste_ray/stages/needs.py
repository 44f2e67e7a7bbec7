"""What stages need of models on this machine, looked at before Ray starts.

A name that nobody knows, a folder without weights or a chat template that cannot be read is told
at once, and before an exploration is paid for whose end would be that line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.inferring.settings import RUN_MODELS, Setting, parse_settings
from ste_ray.errors import ToolTemplateError
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import read_manifest, read_request

# torch and transformers take seconds to import: only what is configured pays for them.


def check_models(config: Config, store: RunStore, stages: Sequence[str]) -> None:
    """Refuse models that the stages to come cannot use; of a complete stage nothing is looked at.

    Args:
        config: the whole configuration.
        store: the run.
        stages: those that are about to run, in order.

    Raises:
        ConfigError: a model is not there, cannot be used, or the hub does not give it.
        ToolTemplateError: its chat template cannot be used for native calls.
        StageInputError: it has no tokenizer.
        TemporaryError: the hub cannot be reached.
    """
    todo = [stage for stage in stages if read_manifest(store, stage) is None]
    settings = parse_settings(config.infer.settings, config.infer.models) if "infer" in todo else []
    if config.llm.local_model and any(config.stage_roles(stage) for stage in todo):
        _check_served(config, _calls_natively(todo, config, settings))
    if "retrieve" in todo:
        from ste_ray.retrieval.encoder import make_encoder

        make_encoder(config.retrieve.encoder)
    own = [one for one in settings if one.model in RUN_MODELS]
    if _is_base_taken(todo, store) and (config.train.model.base or _native(own)):
        from ste_ray.stages.train.needs import check_base_model

        check_base_model(config, own)
    for setting in settings:
        if setting.model not in RUN_MODELS and not setting.is_endpoint:
            from ste_ray.stages.infer.needs import check_model, check_native

            check_model(store, setting, config)
            check_native(store, setting, config)


def _native(settings: Sequence[Setting]) -> bool:
    return any(one.is_native for one in settings)


def _calls_natively(stages: Sequence[str], config: Config, settings: Sequence[Setting]) -> bool:
    """Whether an endpoint is asked by native tool calling."""
    explores = "explore" in stages and config.explore.protocol == "native"
    return explores or _native([one for one in settings if one.is_endpoint])


def _check_served(config: Config, native: bool) -> None:
    """Refuse a ``llm.local_model`` that cannot be served, or not for native calls."""
    from ste_ray.llm.local_server import check_model_folder

    folder = config.llm.local_model
    check_model_folder(folder)
    if not native:
        return
    from ste_ray.chat_tokens.native.chat import NativeChat
    from ste_ray.generation.model import load_tokenizer
    from ste_ray.stages.infer.models import loading_of

    try:
        NativeChat(load_tokenizer(Path(folder), loading_of(config)))
    except ToolTemplateError as error:
        raise type(error)(
            f"llm.local_model={folder!r} cannot be asked by native tool calling: {error}; or ask it"
            " by text: explore.protocol=text, endpoint/retrieved among infer.settings"
        ) from None


def _is_base_taken(stages: Sequence[str], store: RunStore) -> bool:
    """Whether a training begins that has not taken its base model into the run yet."""
    if "train" in stages and not store.exists(layout.BASE_MARKER):
        return True
    return "continual" in stages and read_request(store, "continual") is None

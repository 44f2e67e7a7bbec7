"""What a training needs of its base model, looked at before Ray starts and any weight is fetched.

Laying a training out finds the same, and what only the data can tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.inferring.settings import Setting
from ste_ray.errors import ConfigError, ToolTemplateError
from ste_ray.generation.native import native_chat
from ste_ray.process.scratch import ScratchFolder
from ste_ray.store.artifacts import open_store
from ste_ray.training.base import (
    base_folder,
    check_hub_weights,
    copy_without_weights,
    has_weights,
)
from ste_ray.training.model import check_base
from ste_ray.training.tokenizer import load_tokenizer, train_tokenizer
from ste_ray.training.toolkens import tokenizer_of


def check_base_model(config: Config, settings: Sequence[Setting] = ()) -> None:
    """Refuse a base model that cannot be trained, or asked as it will be.

    Args:
        config: the whole configuration.
        settings: those in which the run's own models will be asked, before and after training.

    Raises:
        ConfigError: there is no such model, or it cannot be used.
        ToolTemplateError: its chat template cannot be used for native calls.
        TemporaryError: the hub cannot be reached.
    """
    base, trust = config.train.model.base, config.trust_remote_code
    native_after = config.train.format == "native"  # with a template that is made to know tools
    asked = [
        one for one in settings if one.is_native and not (native_after and one.model == "tuned")
    ]
    if not base:
        for setting in asked:
            native_chat(train_tokenizer(["a"], 300, 64), setting)
        return
    with _described(base, trust) as folder:
        local = Path(base).expanduser().is_dir()
        check_base(folder, base, config.train.max_tokens, trust, weights=local)
        load_tokenizer(str(folder), trust, given=base)
        try:
            if native_after:
                tokenizer_of(folder, config.train, {}, trust_remote_code=trust)
            for setting in asked:
                native_chat(load_tokenizer(str(folder), trust, given=base), setting)
        except ToolTemplateError as error:
            raise type(error)(f"train.model.base={base!r}: {error}") from None


@contextmanager
def _described(base: str, trust_remote_code: bool) -> Iterator[Path]:
    """Yield a folder with all of a base model but its weights; of a folder here, with them."""
    if "://" not in base:
        local = Path(base).expanduser().is_dir()
        with base_folder(base, trust_remote_code, weights=local) as folder:
            check_hub_weights(base)
            yield folder
        return
    store = open_store(base)
    found = store.list()
    if not has_weights(found):
        lacking = "are no weights in safetensors" if found else "is nothing"
        raise ConfigError(
            f"train.model.base={base!r}: there {lacking}; give the URI of a model's folder, such as"
            f" s3://bucket/run/{layout.TUNED_MODEL}"
        )
    with ScratchFolder(prefix="ste-ray-base-") as name:
        copy_without_weights(store, "", Path(name))
        yield Path(name)

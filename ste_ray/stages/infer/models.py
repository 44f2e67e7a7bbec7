"""Where inference finds its models, how they get to a worker, and how they are decoded there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs as pafs
from transformers.utils import logging as transformers_logging

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.errors import ConfigError
from ste_ray.generation.config import InferConfig
from ste_ray.generation.decode import Decoding
from ste_ray.generation.model import Loading, LocalModel, load_model
from ste_ray.process.scratch import ScratchFolder
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.training.base import base_folder, check_hub_weights

# A batch of long prompts takes a CPU minutes; what is finished shall be kept now and then.
_BATCH_TOKENS_ON_CPU = 16_384
# Endings of the files that a tokenizer may be made of.
_OF_TOKENIZERS = (".json", ".jinja", ".txt", ".model", ".py")


def load_named_model(store: RunStore, name: str, config: Config) -> LocalModel:
    """Load the model called ``name`` in a setting, as it is configured.

    Raises:
        ConfigError: there is none, or it cannot be fetched.
        StageInputError: it cannot be loaded.
    """
    transformers_logging.disable_progress_bar()
    with model_folder(store, name, config) as folder:
        return load_model(folder, loading_of(config))


def loading_of(config: Config) -> Loading:
    """Return how local models are loaded."""
    section = config.infer
    return Loading(
        use_gpu=section.use_gpu,
        spread=section.use_gpu and section.gpus_per_worker > 1,
        int8=section.quantization == "int8",
        precision=section.precision,
        trust_remote_code=config.trust_remote_code,
        template_options=section.template_options,
    )


def configured_decoding(config: Config) -> Decoding:
    """Return how answers are decoded."""
    section = config.infer
    return Decoding(
        section.max_new_tokens,
        section.batch_size,
        _batch_tokens(section),
        temperature=section.temperature,
        top_p=section.top_p,
        seed=config.seed,
    )


def _batch_tokens(section: InferConfig) -> int | None:
    if section.batch_tokens is None and not section.use_gpu:
        return _BATCH_TOKENS_ON_CPU
    return section.batch_tokens


@contextmanager
def model_folder(store: RunStore, name: str, config: Config) -> Iterator[Path]:
    """Yield the local folder of the model called ``name`` in a setting.

    Raises:
        ConfigError: there is none, or it cannot be fetched.
    """
    if name in layout.RUN_MODELS:
        with _local_folder(store, layout.RUN_MODELS[name]) as folder:
            yield folder
        return
    given = config.infer.models[name]
    if "://" not in given:
        key = f"infer.models.{name}"
        with base_folder(given, config.trust_remote_code, key) as folder:
            yield folder
        return
    try:
        with _local_folder(open_store(given), "") as folder:
            yield folder
    except FileNotFoundError as error:
        raise ConfigError(
            f"infer.models: {name}={given!r}: {error}; give the URI of a model's folder, such as"
            f" s3://bucket/run/{layout.TUNED_MODEL}"
        ) from None


@contextmanager
def tokenizer_folder(store: RunStore, name: str, config: Config) -> Iterator[Path]:
    """Yield a local folder with all of a model but its weights, tokenizer and configuration.

    Of object storage and of the hub no weights are fetched.

    Raises:
        ConfigError: there is no such model.
        TemporaryError: the hub cannot be reached.
    """
    if name in layout.RUN_MODELS:
        place, path = store, layout.RUN_MODELS[name]
    elif "://" in config.infer.models[name]:
        place, path = open_store(config.infer.models[name]), ""
    else:
        given = config.infer.models[name]
        key, trust = f"infer.models.{name}", config.trust_remote_code
        if Path(given).expanduser().is_dir():
            yield Path(given).expanduser()
            return
        with base_folder(given, trust, key, weights=False) as folder:
            check_hub_weights(given, key)
            yield folder
        return
    if isinstance(place.filesystem, pafs.LocalFileSystem):
        yield Path(place.path(path))
        return
    with ScratchFolder(prefix="ste-tokenizer-") as scratch:
        for key in place.list(path):
            file = Path(key).name
            if file.endswith(_OF_TOKENIZERS) and Path(key).parent == Path(path):
                (Path(scratch) / file).write_bytes(place.read_bytes(key))
        yield Path(scratch)


@contextmanager
def _local_folder(store: RunStore, path: str) -> Iterator[Path]:
    """Yield a folder of the store as a local one: itself, or for object storage a copy."""
    if isinstance(store.filesystem, pafs.LocalFileSystem):
        yield Path(store.path(path))
        return
    with ScratchFolder(prefix="ste-model-") as folder:
        store.download_folder(path, folder)
        yield Path(folder)

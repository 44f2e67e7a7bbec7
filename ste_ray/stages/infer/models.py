"""Where inference finds its models, and how they get to a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs as pafs

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.errors import ConfigError
from ste_ray.process.scratch import ScratchFolder
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.training.base import base_folder


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
def _local_folder(store: RunStore, path: str) -> Iterator[Path]:
    """Yield a folder of the store as a local one: itself, or for object storage a copy."""
    if isinstance(store.filesystem, pafs.LocalFileSystem):
        yield Path(store.path(path))
        return
    with ScratchFolder(prefix="ste-model-") as folder:
        store.download_folder(path, folder)
        yield Path(folder)

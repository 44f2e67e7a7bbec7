"""Where inference finds its models and puts its predictions, and how models get to a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs as pafs

from ste_ray.core.inferring.settings import Setting
from ste_ray.errors import ConfigError
from ste_ray.generation.config import InferConfig
from ste_ray.process.scratch import ScratchFolder
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.training.base import base_folder

PREDICTIONS_PATH = "infer/predictions"
PIECES_PATH = "infer/pieces"  # of predictions, with a folder for each setting, until all is done
JOURNALS = "infer/journal"  # with a folder for each setting that an endpoint answers
DIALOGS_PATH = "prepare/dialogs"
MODEL_PATHS = {"base": "train/base", "tuned": "train/model"}


def folder_of(setting: Setting) -> str:
    """Return the folder of a setting's predictions."""
    return f"{PREDICTIONS_PATH}/{setting.folder_name}"


def pieces_of(setting: Setting) -> str:
    """Return the folder of what is answered in a setting that is not complete."""
    return f"{PIECES_PATH}/{setting.folder_name}"


@contextmanager
def model_folder(store: RunStore, name: str, config: InferConfig) -> Iterator[Path]:
    """Yield the local folder of the model called ``name`` in a setting.

    Raises:
        ConfigError: there is none, or it cannot be fetched.
    """
    if name in MODEL_PATHS:
        with _local_folder(store, MODEL_PATHS[name]) as folder:
            yield folder
        return
    given = config.models[name]
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
            " s3://bucket/run/train/model"
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

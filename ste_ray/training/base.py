"""Base models: where they come from, and their files as a run keeps them."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import is_offline_mode

from ste_ray.core import layout
from ste_ray.errors import ConfigError
from ste_ray.ports import RunFiles
from ste_ray.process.hub import fetch_from_hub, known_files
from ste_ray.process.scratch import ScratchFolder

_WEIGHTS = "*.safetensors"
_PATTERNS = (_WEIGHTS, "*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken")
_CODE = "*.py"


@contextmanager
def base_folder(
    base: str, trust_remote_code: bool, key: str = "train.model.base", *, weights: bool = True
) -> Iterator[Path]:
    """Yield a folder with the files of a base model that are needed, and no others.

    Args:
        base: a local folder, or a name on the Hugging Face hub.
        trust_remote_code: whether Python files are needed too.
        key: where it is configured, for errors.
        weights: whether its weights are needed. Those of the hub are large, and left there if not.

    Raises:
        ConfigError: there is none, or the hub does not give it.
        TemporaryError: the hub cannot be reached.
    """
    patterns = [*_PATTERNS, *([_CODE] if trust_remote_code else [])]
    if not weights:
        patterns.remove(_WEIGHTS)
    source = Path(base).expanduser()
    if not source.is_dir():
        if _is_path(base):
            raise ConfigError(f"{key}={base!r} is no folder; give an existing one")
        source = fetch_from_hub(base, patterns, f"{key}={base!r}", shows_progress=weights)
    with ScratchFolder(prefix="ste-ray-base-") as folder:
        for pattern in patterns:
            for file in source.glob(pattern):
                os.symlink(file.resolve(), Path(folder) / file.name)
        yield Path(folder)


def check_hub_weights(base: str, key: str = "train.model.base") -> None:
    """Refuse a model of the hub without weights that can be used, without fetching any.

    Something of it must have been fetched by ``base_folder``; of a folder nothing is said.

    Raises:
        ConfigError: it has none; or they are not in the cache, and the hub may not be asked.
    """
    if Path(base).expanduser().is_dir() or _is_path(base):
        return
    given = f"{key}={base!r}"
    files = known_files(base)
    if files and not has_weights(files):
        raise ConfigError(
            f"{given} holds no weights in safetensors on the Hugging Face hub; give another model,"
            " or a folder with its weights converted"
        )
    if is_offline_mode():
        # Nothing is fetched: where the cache lacks one of them, this is refused.
        cached = fetch_from_hub(base, [_WEIGHTS], given, shows_progress=False)
        if not any(cached.glob(_WEIGHTS)):
            raise ConfigError(
                f"{given} has no weights in safetensors in the cache of the Hugging Face hub, which"
                " may not be asked (HF_HUB_OFFLINE is set); give a folder, or unset HF_HUB_OFFLINE"
            )


def has_weights(paths: Iterable[str]) -> bool:
    """Whether there are weights that can be used among the paths in a model's folder."""
    return any("/" not in path for path in fnmatch.filter(paths, _WEIGHTS))


def _is_path(base: str) -> bool:
    """Whether what is no folder can only have been meant as one."""
    return base.startswith(("/", ".", "~")) or base.count("/") > 1


def copy_base(files: RunFiles, folder: Path, *, weights: bool) -> None:
    """Copy the base model that a run keeps to a local folder, with or without its weights."""
    if weights:
        files.download_folder(layout.BASE_MODEL, folder)
    else:
        copy_without_weights(files, layout.BASE_MODEL, folder)


def copy_without_weights(files: RunFiles, path: str, folder: Path) -> bool:
    """Copy a model in the folder ``path`` to a local folder; return whether there was any."""
    found = files.list(path)
    for name in found:
        if not fnmatch.fnmatch(name, _WEIGHTS):
            target = folder / (name.removeprefix(f"{path}/") if path else name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(files.read_bytes(name))
    return bool(found)

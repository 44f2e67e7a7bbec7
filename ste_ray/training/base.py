"""Base models: where they come from, and their files as a run keeps them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError

from ste_ray.core import layout
from ste_ray.errors import ConfigError
from ste_ray.ports import RunFiles
from ste_ray.process.scratch import ScratchFolder

_WEIGHTS = ".safetensors"
_PATTERNS = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken")
_CODE = "*.py"


@contextmanager
def base_folder(
    base: str, trust_remote_code: bool, key: str = "train.model.base"
) -> Iterator[Path]:
    """Yield a folder with the files of a base model that are needed, and no others.

    Args:
        base: a local folder, or a name on the Hugging Face hub.
        trust_remote_code: whether Python files are needed too.
        key: where it is configured, for errors.

    Raises:
        ConfigError: there is none, or it cannot be fetched.
    """
    patterns = [*_PATTERNS, *([_CODE] if trust_remote_code else [])]
    source = Path(base).expanduser()
    if not source.is_dir():
        source = _fetched(base, patterns, key)
    with ScratchFolder(prefix="ste-ray-base-") as folder:
        for pattern in patterns:
            for file in source.glob(pattern):
                os.symlink(file.resolve(), Path(folder) / file.name)
        yield Path(folder)


def _fetched(base: str, patterns: list[str], key: str) -> Path:
    if base.startswith(("/", ".", "~")) or base.count("/") > 1:
        raise ConfigError(f"{key}={base!r} is no folder; give an existing one")
    try:
        return Path(snapshot_download(base, allow_patterns=patterns))
    except (OSError, ValueError, HFValidationError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"{key}={base!r} is no folder here, and the Hugging Face hub does not give"
            f" it: {reason}; give a folder, a hub name (HF_TOKEN opens private ones) or a run URI"
        ) from None


def copy_base(files: RunFiles, folder: Path, *, weights: bool) -> None:
    """Copy the base model that a run keeps to a local folder, with or without its weights."""
    if weights:
        files.download_folder(layout.BASE_MODEL, folder)
        return
    for path in files.list(layout.BASE_MODEL):
        if not path.endswith(_WEIGHTS):
            target = folder / path.removeprefix(f"{layout.BASE_MODEL}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(files.read_bytes(path))

"""A folder that appears whole or not at all, however the process that makes it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ste_ray.errors import ConfigError
from ste_ray.process.scratch import ScratchFolder


@contextmanager
def new_folder(path: str) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it takes that name when all went well.

    What a killed process leaves is a scratch folder, which the next one there removes.

    Raises:
        ConfigError: there is something at ``path`` already, or it cannot be written.
    """
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise ConfigError(
            f"{path!r} is a file, and a folder is to be made; give --out a folder that does not"
            " exist yet"
        )
    if target.exists() and any(target.iterdir()):
        raise ConfigError(
            f"{path!r} exists and is not empty; give --out a folder that does not exist yet"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with ScratchFolder(prefix="ste-new-", dir=str(target.parent)) as scratch:
            temporary = Path(scratch) / "folder"
            temporary.mkdir()
            yield temporary
            if target.exists():
                target.rmdir()
            temporary.rename(target)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path!r}: {error}; give --out a folder on a disk with room, where you "
            "may write"
        ) from None

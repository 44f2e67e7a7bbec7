"""Writes a folder, or a JSON list, that appears whole or not at all."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from ste_ray.errors import ConfigError

MARKER = "export.json"  # written last; says what the folder holds


@contextmanager
def new_folder(path: str) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it takes that name when all went well.

    Raises:
        ConfigError: there is something at ``path`` already, or it cannot be written.
    """
    target = Path(path)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(
            f"{path!r} exists and is not empty; give --out a folder that does not exist yet"
        )
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if target.exists():
            target.rmdir()
        temporary.rename(target)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path!r}: {error}; give --out a folder on a disk with room, where you "
            "may write"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class LineFiles:
    """JSON lines, in one file for each split that has any; a context manager.

    Args:
        folder: where ``NAME.jsonl`` is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._streams: dict[str, TextIO] = {}
        self._open = ExitStack()
        self.counts: dict[str, int] = {}

    def __enter__(self) -> LineFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def write(self, name: str, value: Any) -> None:
        """Append ``value`` to the file ``name``."""
        if name not in self._streams:
            stream = (self._folder / f"{name}.jsonl").open("w", encoding="utf-8")
            self._streams[name] = self._open.enter_context(stream)
        self._streams[name].write(json.dumps(value, ensure_ascii=False) + "\n")
        self.counts[name] = self.counts.get(name, 0) + 1


def write_json_list(path: Path, values: Iterator[Any]) -> int:
    """Write a JSON list, a value at a time; return how many there were."""
    number = 0
    with path.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for value in values:
            stream.write(",\n " if number else "\n ")
            stream.write(json.dumps(value, ensure_ascii=False))
            number += 1
        stream.write("\n]\n")
    return number


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

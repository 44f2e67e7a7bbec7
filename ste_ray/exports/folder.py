"""Writes the files of an exported folder: JSON values, lists and lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

MARKER = "export.json"  # written last; says what the folder holds


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

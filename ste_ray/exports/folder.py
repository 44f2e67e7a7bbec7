"""Writes the files of an exported folder: JSON values, lists and lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

MARKER = "export.json"  # written last; says what the folder holds


@dataclass(frozen=True)
class Written:
    """What went into a folder.

    Attributes:
        rows: how many, by file or by split.
        left_out: how many rows the form has no place for, by the reason.
    """

    rows: Mapping[str, int]
    left_out: Mapping[str, int] = field(default_factory=dict)


class LineFiles:
    """JSON lines, in one file for each split that has any; a context manager.

    Args:
        folder: where the files are made.
        suffix: what follows a file's name.

    Attributes:
        counts: rows by file.
        left_out: rows that were not written, by the reason.
    """

    def __init__(self, folder: Path, suffix: str = ".jsonl") -> None:
        self._folder = folder
        self._suffix = suffix
        self._streams: dict[str, TextIO] = {}
        self._open = ExitStack()
        self.counts: dict[str, int] = {}
        self.left_out: Counter[str] = Counter()

    def __enter__(self) -> LineFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def write(self, name: str, value: Any) -> None:
        """Append ``value`` to the file ``name``."""
        if name not in self._streams:
            stream = (self._folder / f"{name}{self._suffix}").open("w", encoding="utf-8")
            self._streams[name] = self._open.enter_context(stream)
        self._streams[name].write(json.dumps(value, ensure_ascii=False) + "\n")
        self.counts[name] = self.counts.get(name, 0) + 1

    @property
    def written(self) -> Written:
        """What was written so far."""
        return Written(self.counts, dict(self.left_out))


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

"""The teacher's data files, read once a process, and regular expressions made of them."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from ste_ray.yaml_loader import load_yaml

_FOLDER = Path(__file__).parent / "data"


@functools.cache
def data(name: str) -> Any:
    """Return the content of a data file."""
    return load_yaml((_FOLDER / f"{name}.yaml").read_text("utf-8"))


@functools.cache
def pattern(name: str, key: str) -> re.Pattern[str]:
    """Return an entry of a data file as a regular expression that ignores case."""
    return re.compile(data(name)[key], re.IGNORECASE)


@functools.cache  # for good: re itself forgets patterns when there are many
def compiled(text: str, flags: int = 0) -> re.Pattern[str]:
    """Return a regular expression that stands somewhere in a data file."""
    return re.compile(text, flags)

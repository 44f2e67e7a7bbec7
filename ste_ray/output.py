"""What commands print: results on standard output, progress on standard error."""

from __future__ import annotations

import json
import sys
from typing import Any


def say(text: str) -> None:
    """Print a line for the person who waits."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    """Print a result for a machine."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_result(result: Any, text: str, as_json: bool) -> None:
    """Print a result: ``text`` for a person, or ``result`` as JSON."""
    if as_json:
        print_json(result)
    else:
        sys.stdout.write(text)

"""Prints conversations while they happen, coloured by who speaks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

from ste_ray.process.output import printable
from ste_ray.runtime.events import Shown

_COLOURS = {"user": "\033[36m", "explorer": "\033[33m", "tool": "\033[32m", "error": "\033[31m"}
_RESET = "\033[0m"


def print_conversations(events: Iterable[Shown], left_out: int = 0) -> None:
    """Write events of flows to standard output, and how many after them could not be kept."""
    for name, fields in events:
        _print(name, fields)
    if left_out:
        sys.stdout.write(f"[{left_out} messages left out: they came faster than they are shown]\n")
        sys.stdout.flush()


def _print(name: str, fields: Mapping[str, object]) -> None:
    if name == "tool":
        who = "tool" if fields["status"] == "ok" else "error"
        # The observation reaches the model, and this display, with the next prompt.
        _write(who, str(fields["scope"]), f"tool answered: {fields['status']}", "")
    elif name == "model":
        _write("user", str(fields["scope"]), "user", str(fields["prompt"]))
        if fields.get("reasoning"):
            _write("explorer", str(fields["scope"]), "reasoning", str(fields["reasoning"]))
        _write("explorer", str(fields["scope"]), str(fields["role"]), str(fields["text"]))


def _write(colour: str, scope: str, who: str, text: str) -> None:
    plain = not sys.stdout.isatty() and os.environ.get("FORCE_COLOR") is None
    start, end = ("", "") if plain or os.environ.get("NO_COLOR") else (_COLOURS[colour], _RESET)
    sys.stdout.write(f"{start}[{scope[:8]}] {printable(who)}:{end}\n")
    if text:
        sys.stdout.write(f"{start}{printable(text.strip())}{end}\n\n")
    sys.stdout.flush()

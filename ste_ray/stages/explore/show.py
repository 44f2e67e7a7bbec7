"""Prints conversations while they happen, coloured by who speaks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from ste_ray.process.output import Colour, coloured
from ste_ray.runtime.events import Shown

_COLOURS: dict[str, Colour] = {
    "user": "cyan",
    "explorer": "yellow",
    "tool": "green",
    "error": "red",
}


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


def _write(who: str, scope: str, label: str, text: str) -> None:
    sys.stdout.write(coloured(f"[{scope[:8]}] {label}:", _COLOURS[who]) + "\n")
    if text:
        sys.stdout.write(coloured(text.strip(), _COLOURS[who]) + "\n\n")
    sys.stdout.flush()

"""Values in messages where they may be anything, a secret among what they hold included."""

from __future__ import annotations

from typing import Any


def in_outline(value: Any) -> str:
    """Return a value as Python writes it; of what holds others, only what it is."""
    if value and isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    return repr(value)

"""Nested fields, such as configurations, key by key, and what two of them differ in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flattened(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested fields under keys with dots."""
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differences(found: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return in words what differs, a text for each key."""
    absent = object()
    texts = []
    for key in sorted({*found, *asked}):
        old, new = found.get(key, absent), asked.get(key, absent)
        if old != new:
            old_text = "absent" if old is absent else _shortened(old)
            new_text = "absent" if new is absent else _shortened(new)
            texts.append(f"{key} was {old_text}, now {new_text}")
    return texts


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

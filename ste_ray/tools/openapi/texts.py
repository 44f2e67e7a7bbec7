"""Texts of a document, made fit to be read by a model and to be used as names."""

from __future__ import annotations

import re
from collections.abc import Collection

from ste_ray.tools.spec.names import FORBIDDEN


def shortened(text: str, max_chars: int) -> str:
    """Return ``text`` cut between words to at most ``max_chars``, marked by an ellipsis."""
    text = text.strip()
    if len(text) <= max_chars:
        return text
    kept = text[: max_chars - 1]
    end = max(kept.rfind(mark) for mark in (" ", "\n"))
    return f"{kept[:end] if end > max_chars // 2 else kept}…"


def described(summary: str | None, description: str | None, fallback: str, max_chars: int) -> str:
    """Return summary and description as one text; the fallback where there is neither."""
    summary = " ".join((summary or "").split())
    description = (description or "").strip()
    if summary and description.startswith(summary):
        summary = ""
    if summary and description and summary[-1] not in ".!?:":
        summary += "."
    return shortened(f"{summary}\n{description}".strip() or fallback, max_chars)


def unique(wanted: str, taken: Collection[str]) -> str:
    """Return ``wanted``, or the first of ``wanted_2``, ``wanted_3`` … that is not taken."""
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def tool_name(wanted: str) -> str:
    """Return a name without what names of tools may not hold."""
    return " ".join(re.sub(FORBIDDEN, "_", wanted).split())


def secret_name(*words: str) -> str:
    """Return a name of an environment variable made of words."""
    parts = [part for word in words for part in re.findall(r"[A-Za-z0-9]+", word)]
    name = "_".join(parts).upper()
    return f"API_{name}" if not name or name[0].isdigit() else name

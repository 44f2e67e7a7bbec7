"""Halves of surrogate pairs, which JSON can write and neither UTF-8 nor any file can hold."""

from __future__ import annotations


def without_halves(text: str) -> str:
    """Return ``text`` with a question mark for each half of a pair."""
    return text if text.isascii() else text.encode(errors="replace").decode()

"""Texts cut to a length, which say so at their end; the only mark of a cut answer there is.

How long an answer was, and how much of it is left, are fields of the result: what a tool itself
writes at the end of its answer is never taken for this mark.
"""

from __future__ import annotations

from ste_ray.core.effects import ToolResult


def cut_text(text: str, max_chars: int, num_chars: int | None = None, is_part: bool = False) -> str:
    """Return ``text`` cut to ``max_chars``, saying so at its end.

    Args:
        text: what there is, possibly cut already.
        max_chars: how much of it may be kept.
        num_chars: the length before any cut, where it is known; None: that of ``text``.
        is_part: whether there was more than ``text``, nobody knows how much.
    """
    kept = text[:max_chars]
    return kept + _mark(len(kept), _total(text, num_chars, is_part))


def ellipsed(text: str, max_chars: int) -> str:
    """Return the beginning of what a message quotes, with an ellipsis where it goes on."""
    return text if len(text) <= max_chars else f"{text[:max_chars]}…"


def cut_result(
    result: ToolResult, max_chars: int, num_chars: int | None = None, is_part: bool = False
) -> ToolResult:
    """Return ``result`` with its text cut as by ``cut_text``; one that was cut is cut further."""
    text = result.answer
    if result.shown_chars is not None:
        num_chars = num_chars or result.total_chars
        is_part = is_part or num_chars is None
    total = _total(text, num_chars, is_part)
    kept = text[:max_chars]
    mark = _mark(len(kept), total)
    changes = {
        "text": kept + mark,
        "shown_chars": len(kept) if mark else None,
        "total_chars": total if mark else None,
    }
    return result.model_copy(update=changes)


def _total(text: str, num_chars: int | None, is_part: bool) -> int | None:
    """Return the length before any cut; None: not known."""
    if num_chars is not None and num_chars >= len(text):
        return num_chars
    return None if is_part else len(text)


def _mark(num_kept: int, total: int | None) -> str:
    if total is None:
        return f"… [cut: {num_kept} characters of a longer reply]"
    return f"… [cut: {num_kept} of {total} characters]" if num_kept < total else ""

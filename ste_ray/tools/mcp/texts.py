"""The text of an MCP server's answer, from the answer as it was written. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def answer_text(content: Iterable[Any], structured: Any = None) -> str:
    """Return texts one below the other, what is no text in brackets, and structured content.

    Structured content is left out where a text says the same.

    Args:
        content: the parts, as JSON; those of a wrong form become text as well as can be.
        structured: any JSON value; None: there is none.
    """
    texts = [_part_text(part) for part in content]
    if structured is not None and not any(_says(text, structured) for text in texts):
        texts.append(json.dumps(structured, ensure_ascii=False))
    return "\n".join(texts)


def _part_text(part: Any) -> str:
    if part is None or isinstance(part, str):
        return part or ""
    if not isinstance(part, dict):
        return json.dumps(part, ensure_ascii=False)
    kind, text = part.get("type"), part.get("text")
    if kind == "text":
        return text if isinstance(text, str) else _part_text(text)
    if kind in ("image", "audio"):
        num_bytes = len(part.get("data") or "") * 3 // 4
        return f"[{kind} {part.get('mimeType')}, {num_bytes} bytes]"
    if kind == "resource_link":
        return f"[resource {part.get('uri')}]"
    resource = part.get("resource")
    if kind == "resource" and isinstance(resource, dict):
        head = f"[resource {resource.get('uri')}]"
        inner = resource.get("text")
        return head if inner is None else f"{head}\n{inner}"
    return f"[{kind}]"


def _says(text: str, structured: Any) -> bool:
    """Whether a text is the structured content, or all that it holds: servers wrap plain texts."""
    wrapped = (
        next(iter(structured.values()))
        if isinstance(structured, dict) and len(structured) == 1
        else structured
    )
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    return bool(value in (structured, wrapped) or text == wrapped)

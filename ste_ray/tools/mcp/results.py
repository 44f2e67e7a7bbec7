"""What an MCP server's answer becomes as the answer of a tool."""

from __future__ import annotations

import json
from typing import Any, Literal

from mcp import MCPError
from mcp_types import REQUEST_TIMEOUT, CallToolResult

from ste_ray.core.effects import ToolResult
from ste_ray.tools.executor import cut_text


def call_result(answer: CallToolResult, max_chars: int, seconds: float) -> ToolResult:
    """Return texts one below the other, what is no text in brackets, and structured content.

    Structured content is left out where a text says the same.
    """
    texts = [_as_text(part) for part in answer.content]
    structured = answer.structured_content
    if structured is not None and not any(_says(text, structured) for text in texts):
        texts.append(json.dumps(structured, ensure_ascii=False))
    status: Literal["ok", "error"] = "error" if answer.is_error else "ok"
    return ToolResult(status=status, text=cut_text("\n".join(texts), max_chars), seconds=seconds)


def error_result(
    error: MCPError, timeout_seconds: float, max_chars: int, seconds: float
) -> ToolResult:
    """Return what an error of the protocol stands for: no answer in time, or a refusal."""
    if error.code == REQUEST_TIMEOUT:
        text = f"the tool did not answer within {timeout_seconds:g} seconds"
        return ToolResult(status="timeout", text=text, seconds=seconds)
    text = cut_text(f"MCP error {error.code}: {error.message}", max_chars)
    return ToolResult(status="error", text=text, seconds=seconds)


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


def _as_text(part: Any) -> str:
    kind = part.type
    if kind == "text":
        return str(part.text)
    if kind in ("image", "audio"):
        return f"[{kind} {part.mime_type}, {len(part.data) * 3 // 4} bytes]"
    if kind == "resource_link":
        return f"[resource {part.uri}]"
    if kind == "resource":
        text = getattr(part.resource, "text", None)
        head = f"[resource {part.resource.uri}]"
        return head if text is None else f"{head}\n{text}"
    return f"[{kind}]"

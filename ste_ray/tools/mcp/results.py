"""What an MCP server's answer becomes as the answer of a tool."""

from __future__ import annotations

from typing import Literal

from mcp import MCPError
from mcp_types import REQUEST_TIMEOUT, CallToolResult

from ste_ray.core.effects import ToolResult
from ste_ray.core.texts.cutting import cut_result
from ste_ray.tools.mcp.condensing import ALL_CHARS
from ste_ray.tools.mcp.texts import answer_text


def call_result(answer: CallToolResult, max_chars: int, seconds: float) -> ToolResult:
    """Return the answer's text; see ``texts``."""
    parts = [part.model_dump(mode="json", by_alias=True) for part in answer.content]
    text = answer_text(parts, answer.structured_content)
    num_chars = (answer.meta or {}).get(ALL_CHARS)  # where it was condensed
    if not isinstance(num_chars, int) or num_chars < len(text):
        num_chars = len(text)
    status: Literal["ok", "error"] = "error" if answer.is_error else "ok"
    result = ToolResult(status=status, text=text, seconds=seconds)
    return cut_result(result, max_chars, num_chars)


def error_result(
    error: MCPError, timeout_seconds: float, max_chars: int, seconds: float
) -> ToolResult:
    """Return what an error of the protocol stands for: no answer in time, or a refusal."""
    if error.code == REQUEST_TIMEOUT:
        text = f"the tool did not answer within {timeout_seconds:g} seconds"
        return ToolResult(status="timeout", text=text, seconds=seconds)
    text = f"MCP error {error.code}: {error.message}"
    return cut_result(ToolResult(status="error", text=text, seconds=seconds), max_chars)

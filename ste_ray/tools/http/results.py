"""What a reply of a service becomes as the answer of a tool."""

from __future__ import annotations

import http
import json
import time
from typing import Any, Literal

import jmespath
import xmltodict
from jmespath.exceptions import JMESPathError

from ste_ray.core.effects import ToolResult
from ste_ray.core.records import ToolSpec
from ste_ray.tools.executor import cut_text
from ste_ray.tools.http.client import (
    BlockedAddressError,
    HttpCall,
    HttpClient,
    HttpFailureError,
    HttpReply,
)

_BYTES_PER_CHAR = 4
_PATH_BYTES = 4_000_000  # what must be read whole to take a part of it
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/javascript")
_TEXT_SUFFIXES = ("+json", "+xml", "yaml", "x-www-form-urlencoded", "x-ndjson", "graphql")


async def send_as_result(
    client: HttpClient, call: HttpCall, spec: ToolSpec, response_path: str = ""
) -> ToolResult:
    """Send a request of a tool; whatever goes wrong is the result."""
    started = time.monotonic()
    max_bytes = _PATH_BYTES if response_path else spec.max_output_chars * _BYTES_PER_CHAR

    def failed(status: Literal["timeout", "crashed", "error"], text: str) -> ToolResult:
        return ToolResult(status=status, text=text, seconds=time.monotonic() - started)

    try:
        reply = await client.send(call, timeout_seconds=spec.timeout_seconds, max_bytes=max_bytes)
    except TimeoutError:
        return failed(
            "timeout", f"the service did not answer within {spec.timeout_seconds:g} seconds"
        )
    except BlockedAddressError as error:
        return failed("error", f"the request was not sent: {error}")
    except HttpFailureError as error:
        return failed("crashed", f"the service could not be reached: {error}")
    seconds = time.monotonic() - started
    return reply_result(reply, spec.max_output_chars, seconds, response_path)


def reply_result(
    reply: HttpReply, max_chars: int, seconds: float, response_path: str = ""
) -> ToolResult:
    """Return the result that a reply stands for.

    A status of 400 or more is an error, whose text begins with the status. JSON is made compact.

    Args:
        reply: what came back.
        max_chars: how much of it is kept.
        seconds: how long it took.
        response_path: JMESPath into JSON, or into XML as nested mappings; where it leads nowhere,
            the result is ``null``.
    """
    if not _is_text(reply):
        kind = reply.content_type or "an unknown type"
        text = f"the service returned {reply.num_bytes} bytes of {kind}, which is no text"
        return ToolResult(status="error", text=text, seconds=seconds)
    failed = reply.status >= 400
    text = reply.text
    problem = ""
    if not reply.cut:
        text, problem = _reduced(reply, "" if failed else response_path)
    elif response_path and not failed:
        problem = f"the reply is longer than {_PATH_BYTES} bytes"
    if problem:
        text = f"{problem}: {text}"
    if failed:
        text = f"HTTP {reply.status} {_phrase(reply.status)}: {text.strip()}".rstrip(": ")
    text = cut_text(text, max_chars)
    if reply.cut and len(text) < max_chars:
        text += "… [cut]"
    status: Literal["ok", "error"] = "error" if failed or problem else "ok"
    return ToolResult(status=status, text=text, seconds=seconds)


def _reduced(reply: HttpReply, response_path: str) -> tuple[str, str]:
    """Return the text to show, and what is wrong with it."""
    is_xml = reply.content_type.endswith("xml")
    if is_xml and not response_path:
        return reply.text, ""
    try:
        value: Any = xmltodict.parse(reply.text) if is_xml else json.loads(reply.text)
    except (ValueError, RecursionError, xmltodict.expat.ExpatError):
        problem = "the service did not return the JSON or XML that was expected"
        return reply.text, problem if response_path else ""
    if response_path:
        try:
            value = jmespath.search(response_path, value)
        except JMESPathError as error:
            return reply.text, f"the reply is not of the expected form ({error})"
    if isinstance(value, str) and response_path:
        return value, ""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": ")), ""


def _is_text(reply: HttpReply) -> bool:
    kind = reply.content_type
    if not reply.text.strip() or kind in ("", "application/octet-stream"):
        return "\x00" not in reply.text
    return kind.startswith(_TEXT_TYPES) or kind.endswith(_TEXT_SUFFIXES)


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""

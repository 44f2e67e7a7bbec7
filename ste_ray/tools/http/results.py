"""What a reply of a service becomes as the answer of a tool."""

from __future__ import annotations

import asyncio
import http
import json
import time
from dataclasses import dataclass
from typing import Any, Literal

import jmespath
import xmltodict
from jmespath.exceptions import JMESPathError

from ste_ray.core.effects import ToolResult
from ste_ray.core.texts.cutting import cut_result
from ste_ray.core.texts.surrogates import without_halves
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.tools.http.client import (
    BlockedAddressError,
    HttpCall,
    HttpClient,
    HttpFailureError,
    HttpReply,
)

_BYTES_PER_CHAR = 4
_PATH_BYTES = 4_000_000  # what must be read whole to take a part of it
_LONG_CHARS = 200_000  # texts that would keep other calls waiting while they are parsed
_TEXT_TYPES = ("text/", "application/json", "application/xml")
_TEXT_SUFFIXES = ("json", "xml", "yaml", "javascript", "x-www-form-urlencoded", "graphql")
# What searching and writing values that a service chose may raise.
_UNEXPECTED = (JMESPathError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class HttpExchange:
    """What came of a request.

    Attributes:
        result: for the model.
        reply: what the result was made of; None: there was no reply.
    """

    result: ToolResult
    reply: HttpReply | None = None


async def send_request(
    client: HttpClient, call: HttpCall, spec: ToolSpec, response_path: str, timeout_seconds: float
) -> HttpExchange:
    """Send a request of a tool in what is left of its time; whatever goes wrong is the result."""
    started = time.monotonic()
    max_bytes = _PATH_BYTES if response_path else spec.max_output_chars * _BYTES_PER_CHAR

    def failed(status: Literal["timeout", "crashed", "error"], text: str) -> HttpExchange:
        seconds = time.monotonic() - started
        # A service may have chosen some of the words, such as where it redirects to.
        result = ToolResult(status=status, text=without_halves(text), seconds=seconds)
        return HttpExchange(cut_result(result, spec.max_output_chars))

    try:
        reply = await client.send(call, timeout_seconds=timeout_seconds, max_bytes=max_bytes)
    except TimeoutError:
        limit = f"{spec.timeout_seconds:g}"
        return failed("timeout", f"the service did not answer within {limit} seconds")
    except BlockedAddressError as error:
        return failed("error", f"the request was not sent: {error}")
    except HttpFailureError as error:
        return failed("crashed", f"the service could not be reached: {error}")
    arguments = (reply, spec.max_output_chars, time.monotonic() - started, response_path)
    if len(reply.text) < _LONG_CHARS:
        return HttpExchange(reply_result(*arguments), reply)
    return HttpExchange(await asyncio.to_thread(reply_result, *arguments), reply)


def reply_result(
    reply: HttpReply, max_chars: int, seconds: float, response_path: str = ""
) -> ToolResult:
    """Return the result that a reply stands for.

    A status of 400 or more is an error, whose text begins with the status, such as
    ``HTTP 404 Not Found: …``. JSON is written on one line.

    Args:
        reply: what came back.
        max_chars: how much of it is kept.
        seconds: how long it took.
        response_path: JMESPath into JSON, or into XML as nested mappings; where it leads nowhere,
            the result is ``null``. Errors are shown whole.
    """
    failed = reply.status >= 400
    if _is_text(reply):
        text, problem = _shown(reply, "" if failed else response_path)
        text = f"{problem}: {text}" if problem else text
    else:
        more = "more than " if reply.cut else ""
        kind = reply.content_type or "an unknown type"
        text = problem = (
            f"the service returned {more}{reply.num_bytes} bytes of {kind}, which is no text"
        )
    if failed:
        line = f"HTTP {reply.status} {_phrase(reply.status)}".rstrip()
        text = f"{line}: {text.strip()}" if text.strip() else line
    status: Literal["ok", "error"] = "error" if failed or problem else "ok"
    text = without_halves(text)
    if reply.cut:  # perhaps within the last character
        text = text.rstrip("\ufffd")
    result = ToolResult(status=status, text=text, seconds=seconds)
    return cut_result(result, max_chars, is_part=reply.cut)


def _shown(reply: HttpReply, response_path: str) -> tuple[str, str]:
    """Return the text to show, and what is wrong with it."""
    if reply.cut:
        too_long = f"the service returned more than {_PATH_BYTES} bytes, too many to find a part of"
        return reply.text, too_long if response_path else ""
    is_xml = reply.text.lstrip().startswith("<")  # some services call it something else
    if is_xml and not response_path:
        return reply.text, ""
    try:
        # Entities are refused: a short text could stand for a gigantic one.
        value: Any = xmltodict.parse(reply.text) if is_xml else json.loads(reply.text)
    except (ValueError, RecursionError, xmltodict.expat.ExpatError):
        problem = "the service did not return the JSON or XML that was expected"
        return reply.text, problem if response_path else ""
    try:
        if response_path:
            value = jmespath.search(response_path, value)
            if isinstance(value, str):
                return value, ""
        return json.dumps(value, ensure_ascii=False, separators=(", ", ": ")), ""
    except (*_UNEXPECTED, RecursionError) as error:
        detail = " ".join(str(error).split())
        problem = f"the reply is not of the expected form ({detail})"
        return reply.text, problem if response_path else ""


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

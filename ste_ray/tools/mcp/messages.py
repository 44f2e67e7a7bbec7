"""Reads the messages of MCP servers as they are written, and mends what only looks wrong.

The protocol's library throws a message away that is not to the letter, and with it an answer that
somebody waits for, or a whole list of tools because of one of them. So halves of surrogate pairs
are replaced here, fields that are null count as absent, an answer that cannot be read becomes an
error at once, and a tool that the library would refuse is left out by name. What messages mean is
left to the library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from mcp_types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    PARSE_ERROR,
    ContentBlock,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCResponse,
    Tool,
    jsonrpc_message_adapter,
)
from mcp_types.methods import validate_server_result
from pydantic import TypeAdapter, ValidationError

from ste_ray.core.texts.surrogates import without_halves
from ste_ray.tools.mcp.texts import answer_text

RAW_SCHEMA = "ste-ray/inputSchema"  # in a tool's _meta: the schema as the server wrote it
_LIST_TOOLS = "tools/list"
_VERSION = "2025-11-25"  # whose form of a tool is held against what servers list
_MAX_DEPTH = 200
_ID = r'"id"\s*:\s*(\d{1,18}|"[^"\\]{1,200}")'
_FIRST_ID = re.compile(rf'\s*\{{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?{_ID}\s*,')
_LAST_ID = re.compile(rf',\s*{_ID}\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}}\s*\Z')
_HEAD_CHARS = 400
_NEEDED = ("name", "description", "inputSchema", "_meta")
_WITHOUT_TYPE = ("$schema", "properties", "required")

_CONTENT: TypeAdapter[ContentBlock] = TypeAdapter(ContentBlock)

Skip = Callable[[str, str], None]


def read_message(text: str, skip: Skip) -> JSONRPCMessage:
    """Return the message that stands in ``text``.

    Args:
        text: one JSON value.
        skip: is told name and reason of each listed tool that is left out.

    Raises:
        ValueError: it is no message, and no answer that somebody could be told of.
    """
    try:
        message = jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValueError:
        pass  # it may be mended
    else:
        if isinstance(message, JSONRPCResponse):
            message.result = _result(message.result, skip)
        elif isinstance(message, JSONRPCError):
            message.error.code = _code(message.error.code)
        return message
    try:
        value = json.loads(text)
        if _depth(value) > _MAX_DEPTH:
            raise RecursionError
    except (ValueError, RecursionError) as error:
        return _unreadable(text, error)
    return _validated(_without_halves(value), skip)


def mended(text: str, skip: Skip) -> str:
    """Return ``text`` as the library will accept it; what is no message at all as it is."""
    try:
        message = read_message(text, skip)
    except ValueError:
        return text
    return message.model_dump_json(by_alias=True, exclude_unset=True)


def _validated(value: Any, skip: Skip) -> JSONRPCMessage:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]  # earlier versions of the protocol allowed batches
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    answer = "method" not in value and value.get("id") is not None
    if answer:
        value = _answer(value, skip)
    try:
        return jsonrpc_message_adapter.validate_python(value, by_name=False)
    except ValidationError:
        if not answer or not isinstance(value["id"], int | str):
            raise
        return _error(value["id"], "the answer is no JSON-RPC response")


def _answer(value: dict[str, Any], skip: Skip) -> dict[str, Any]:
    """Return a response with what servers leave out or write as null."""
    kept = {"jsonrpc": "2.0", "id": value["id"]}
    error = value.get("error")
    if error is not None:
        fields = error if isinstance(error, Mapping) else {"message": error}
        code, text = fields.get("code"), fields.get("message")
        kept["error"] = {
            "code": _code(code),
            "message": text if isinstance(text, str) else json.dumps(text, ensure_ascii=False),
        }
        return kept
    result = value.get("result")
    kept["result"] = _result(result, skip) if isinstance(result, dict) else result
    return kept if result is not None else {**kept, "result": {}}


def _code(code: Any) -> int:
    # Servers use the number with which the library says that a connection has ended.
    return code if isinstance(code, int) and code != CONNECTION_CLOSED else INTERNAL_ERROR


def _result(result: Mapping[str, Any], skip: Skip) -> dict[str, Any]:
    kept = _without_nulls(result)
    if "content" in result:
        kept["content"] = _content(result["content"])
    cursor = kept.get("nextCursor", "")
    if not isinstance(cursor, str):
        kept["nextCursor"] = str(cursor) if isinstance(cursor, int) else ""
    if "protocolVersion" in kept:
        kept = {"capabilities": {}, "serverInfo": {"name": "", "version": ""}} | kept
    if isinstance(kept.get("tools"), list):
        kept["tools"] = _tools(kept["tools"], skip)
    return kept


def _content(content: Any) -> Any:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if content is None:
        return []
    if not isinstance(content, list):
        return content
    return [_part(part) for part in content if part is not None]


def _part(part: Any) -> dict[str, Any]:
    if not isinstance(part, dict):
        return {"type": "text", "text": answer_text([part])}
    kept = _without_nulls(part)
    if kept.get("type") == "text" and not isinstance(kept.get("text"), str):
        text = kept.get("text")
        kept["text"] = "" if text is None else json.dumps(text, ensure_ascii=False)
    try:
        _CONTENT.validate_python(kept, by_name=False)
    except ValidationError:  # of a kind that the library does not know, or not as it says
        return {"type": "text", "text": answer_text([kept])}
    return kept


def _tools(listed: list[Any], skip: Skip) -> list[dict[str, Any]]:
    kept = []
    for index, raw in enumerate(listed):
        name = raw.get("name") if isinstance(raw, dict) else None
        if not isinstance(name, str) or not name:
            skip(f"tool {index + 1}", f"the server lists it with the name {name!r}")
            continue
        try:
            kept.append(_tool(raw))
        except ValueError as error:
            skip(name, str(error))
    return kept


def _tool(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool as the library will accept it, with its schema as it was written.

    Raises:
        ValueError: it cannot be used; the message says why, in one line.
    """
    tool = _without_nulls(raw)
    schema = tool.get("inputSchema", {})
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        raise ValueError(f"its inputSchema is {str(schema)[:80]!r}, not an object")
    tool["inputSchema"] = _accepted(schema)
    meta = tool.get("_meta")
    tool["_meta"] = {**(meta if isinstance(meta, dict) else {}), RAW_SCHEMA: schema}
    if not isinstance(tool.get("description", ""), str):
        del tool["description"]
    for fields in (
        tool,
        {key: tool[key] for key in (*_NEEDED, "_meta", "description") if key in tool},
    ):
        problem = _problem(fields)
        if not problem:
            return fields
    raise ValueError(f"the server does not list it as the protocol says: {problem}")


def _accepted(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in schema.items() if key not in _WITHOUT_TYPE}
    kept["type"] = "object"
    dialect, properties, required = (schema.get(key) for key in _WITHOUT_TYPE)
    if isinstance(dialect, str):
        kept["$schema"] = dialect
    if isinstance(properties, dict):
        kept["properties"] = {
            name: one for name, one in properties.items() if isinstance(one, dict | bool)
        }
    if isinstance(required, list) and all(isinstance(name, str) for name in required):
        kept["required"] = required
    return kept


def _problem(tool: dict[str, Any]) -> str:
    try:
        validate_server_result(_LIST_TOOLS, _VERSION, {"tools": [tool]})
        Tool.model_validate(tool, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return ""


def _without_nulls(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _without_halves(value: Any) -> Any:
    """Replace halves of surrogate pairs everywhere in a value."""
    if isinstance(value, str):
        return without_halves(value)
    if isinstance(value, dict):
        return {_without_halves(key): _without_halves(child) for key, child in value.items()}
    return [_without_halves(child) for child in value] if isinstance(value, list) else value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= _MAX_DEPTH:
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        depth += 1
    return depth


def _unreadable(text: str, error: Exception) -> JSONRPCMessage:
    """Return the error that an answer becomes which cannot be read, if it says whose it is.

    Raises:
        ValueError: it does not.
    """
    found = _FIRST_ID.match(text[:_HEAD_CHARS]) or _LAST_ID.search(text[-_HEAD_CHARS:])
    if found is None or '"method"' in text[:_HEAD_CHARS]:
        raise ValueError("it is no message")
    deep = isinstance(error, RecursionError)
    reason = f"it is nested more than {_MAX_DEPTH} levels deep" if deep else "it is no JSON"
    return _error(json.loads(found[1]), f"the answer cannot be read: {reason}")


def _error(request: int | str, text: str) -> JSONRPCMessage:
    error = {"code": PARSE_ERROR, "message": text}
    message: JSONRPCMessage = jsonrpc_message_adapter.validate_python(
        {"jsonrpc": "2.0", "id": request, "error": error}, by_name=False
    )
    return message

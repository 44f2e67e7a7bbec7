"""Conversations with marked calls, by which a chat template shows how it writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jinja2 import TemplateError

#: Writes messages with tools: ``(messages, tools, add_generation_prompt) -> text``.
Render = Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]] | None, bool], str]
# What templates raise where they cannot be used so.
RENDERING_ERRORS = (
    *(TemplateError, TypeError, ValueError, KeyError, IndexError, AttributeError),
    *(ArithmeticError, RecursionError),
)

REQUEST = "zq request"
TEXT = "zq words"
RESULT = "zq result"
NAMES = ("zqfirst", "zqsecond")
KEYS = ("kqone", "kqtwo")
VALUES = ("vqone", "vqtwo")
# Nine letters and digits fit every form of ids that templates ask for.
IDS = ("zqid00001", "zqid00002")
OTHER_IDS = ("call_1", "call_zq0123456789abcdef")

_TYPES = {
    "kqone": "string",
    "kqtwo": "string",
    "text": "string",
    "amount": "number",
    "count": "integer",
    "flag": "boolean",
    "things": "array",
    "inner": "object",
    "nothing": "null",
}
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": kind, "description": "zq"} for name, kind in _TYPES.items()},
    "required": [],
}
_PLAIN_SCHEMA = {
    "type": "object",
    "properties": {KEYS[0]: {"type": "string", "description": "zq"}},
    "required": [],
}
SCHEMAS = dict.fromkeys(NAMES, SCHEMA)


def tools(schema: Mapping[str, Any] = SCHEMA) -> tuple[dict[str, Any], ...]:
    """Return the tools of the probes, with this schema."""
    return tuple(
        {
            "type": "function",
            "function": {"name": name, "description": f"zq {name}", "parameters": schema},
        }
        for name in NAMES
    )


#: The tools of the probes: first with arguments of all types; some templates cannot write these.
TOOLS = (tools(), tools(_PLAIN_SCHEMA))

#: Arguments that a form must bring back.
PROOFS: tuple[dict[str, Any], ...] = (
    {},
    {"text": "plain"},
    {"text": "Straße 東京 🎈", "count": 3},
    {"text": 'she said "it\'s" {so} [x], a: b; 5 < 6 & 7 > 2'},
    {"text": "two\nlines\tand \\ backslash", "flag": True},
    {"amount": -2.5, "count": 12345678901234567890, "flag": False},
    {"things": ["a", "b", 3, True, []], "inner": {"deep": {"er": [1, {"x": "y"}]}}},
    {"inner": {}, "things": [], "nothing": None},
    {"text": "5", "kqone": "true", "kqtwo": "null"},
    {"text": '{"name": "zqsecond", "arguments": {}}'},
)


class Given(NamedTuple):
    """How a template wants messages that call.

    Attributes:
        as_text: whether arguments are given as JSON text, instead of an object.
        null: whether the content of a message that only calls is null, instead of empty.
    """

    as_text: bool = False
    null: bool = False


PLAINLY = Given()


def call(name: str, arguments: Any, identity: str = IDS[0], *, as_text: bool = False) -> Any:
    """Return a call as messages hold it.

    Args:
        name: of the tool.
        arguments: as an object.
        identity: its id.
        as_text: whether the arguments are given as JSON text.
    """
    given = json.dumps(arguments, ensure_ascii=False) if as_text else arguments
    return {"type": "function", "id": identity, "function": {"name": name, "arguments": given}}


def asked(*following: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a conversation that begins with a request."""
    return [{"role": "user", "content": REQUEST}, *following]


def answered(identity: str = IDS[0], given: Given = PLAINLY) -> list[Mapping[str, Any]]:
    """Return a conversation with a call and its result."""
    made = calling(call(NAMES[0], {}, identity, as_text=given.as_text), null=given.null)
    result = {"role": "tool", "name": NAMES[0], "tool_call_id": identity, "content": RESULT}
    return asked(made, result)


def calling(*calls: Any, text: str = "", null: bool = False) -> dict[str, Any]:
    """Return the assistant's message with these calls.

    Args:
        calls: as ``call`` returns them.
        text: beside them.
        null: whether no text is given as null.
    """
    content = None if null and not text else text
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}

"""Replies with calls as servers send them that take function calling less exactly, for trying out.

Each kind is something that a real server does, or that a model makes of it. A reply without calls
is left as it is by the kinds that spoil calls.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

OddCallKind = Literal[
    "several",  # more calls than any trial has turns
    "bad_json",  # arguments that break off
    "arguments_object",  # an object in the place of a text
    "arguments_empty",
    "arguments_null",
    "arguments_list",  # JSON, but no object
    "no_ids",
    "same_ids",  # two calls a reply, and all of all replies with one id
    "number_ids",
    "function_call",  # the field of before there was tool_calls
    "flat",  # name and arguments beside the id
    "no_name",
    "unknown_name",
    "finish_stop",
    "finish_null",
    "finish_unknown",
    "lost_call",  # finish_reason says there are calls
    "cut_call",  # cut at max_tokens
    "cut_text",  # cut before the call began
    "filtered",
    "call_in_text",  # in the tags of a model whose parser is not set
    "call_in_fence",
    "ignores_none",  # calls although tool_choice is none
    "never_calls",  # whatever tool_choice is
    "no_content",
    "content_parts",
    "reasoning_content",
    "reasoning",
    "think",
    "only_reasoning",
]
ODD_CALL_KINDS: tuple[OddCallKind, ...] = get_args(OddCallKind)
_THOUGHT = "The answer might be 42, but I have to look."
_NUM_SEVERAL = 7
Choice = dict[str, Any]


class OddCalls:
    """Draws which replies are odd, and how: from the request, so that a run is the same again.

    Args:
        seed: of the draws.
        rate: share of the replies, 0 to 1.
        kinds: the kinds to draw from, each as likely as the next.
    """

    def __init__(self, seed: int, rate: float, kinds: Sequence[OddCallKind]) -> None:
        self._seed = seed
        self._rate = rate
        self._kinds = tuple(kinds)

    def draw(self, key: int) -> OddCallKind | None:
        """Return what is odd about the reply to the request with this hash; None: nothing."""
        rng = random.Random(f"odd:{self._seed}:{key}")
        return rng.choice(self._kinds) if rng.random() < self._rate else None


def spoil(kind: OddCallKind, choice: Choice, name: str, may_call: bool) -> Choice:
    """Return a choice of a completion as a server sends it that behaves like ``kind``.

    Args:
        kind: what is odd.
        choice: as it should be.
        name: of a tool that the request offers; ``ignores_none`` calls it.
        may_call: whether the request lets the model call it.
    """
    spoilt = copy.deepcopy(choice)
    message = spoilt["message"]
    if kind == "ignores_none":
        if not may_call:
            message |= {"content": None, "tool_calls": [_call("call_ignored", name, "{}")]}
            spoilt["finish_reason"] = "tool_calls"
        return spoilt
    if kind in _OF_ANY:
        _OF_ANY[kind](spoilt, message)
    elif "tool_calls" in message:
        _OF_CALLS[kind](spoilt, message)
    return spoilt


def _call(number: str, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": number, "type": "function", "function": function}


def _with(field: str, change: Callable[[Any], Any]) -> Callable[[Choice, Choice], None]:
    """Return what changes a field of the function of each call."""

    def spoil_calls(choice: Choice, message: dict[str, Any]) -> None:
        for call in message["tool_calls"]:
            call["function"][field] = change(call["function"][field])

    return spoil_calls


def _ended(reason: Any) -> Callable[[Choice, Choice], None]:
    def end(choice: Choice, message: dict[str, Any]) -> None:
        choice["finish_reason"] = reason

    return end


def _several(choice: Choice, message: dict[str, Any]) -> None:
    (call,) = message["tool_calls"]
    message["tool_calls"] = [
        {**call, "id": f"{call['id']}_{number}"} for number in range(_NUM_SEVERAL)
    ]


def _numbered(choice: Choice, message: dict[str, Any]) -> None:
    for number, call in enumerate(message["tool_calls"]):
        call["id"] = number


def _unnumbered(choice: Choice, message: dict[str, Any]) -> None:
    for call in message["tool_calls"]:
        del call["id"]


def _same_ids(choice: Choice, message: dict[str, Any]) -> None:
    message["tool_calls"] = [{**call, "id": "call_0"} for call in message["tool_calls"] * 2]


def _legacy(choice: Choice, message: dict[str, Any]) -> None:
    message["function_call"] = message.pop("tool_calls")[0]["function"]
    choice["finish_reason"] = "function_call"


def _flat(choice: Choice, message: dict[str, Any]) -> None:
    message["tool_calls"] = [{"id": one["id"], **one["function"]} for one in message["tool_calls"]]


def _lost(choice: Choice, message: dict[str, Any]) -> None:
    del message["tool_calls"]


def _cut(choice: Choice, message: dict[str, Any]) -> None:
    _with("arguments", lambda text: text[: len(text) // 2])(choice, message)
    choice["finish_reason"] = "length"


def _cut_text(choice: Choice, message: dict[str, Any]) -> None:
    del message["tool_calls"]
    message["content"] = "I will look that up by calling"
    choice["finish_reason"] = "length"


def _in_text(opening: str, closing: str) -> Callable[[Choice, Choice], None]:
    def write(choice: Choice, message: dict[str, Any]) -> None:
        function = message.pop("tool_calls")[0]["function"]
        call = {"name": function["name"], "arguments": json.loads(function["arguments"])}
        message["content"] = f"{opening}{json.dumps(call)}{closing}"
        choice["finish_reason"] = "stop"

    return write


def _never(choice: Choice, message: dict[str, Any]) -> None:
    del message["tool_calls"]
    message["content"] = "It is 42."
    choice["finish_reason"] = "stop"


def _without_content(choice: Choice, message: dict[str, Any]) -> None:
    del message["content"]


def _in_parts(choice: Choice, message: dict[str, Any]) -> None:
    message["content"] = [{"type": "text", "text": message["content"] or ""}]


def _reasons_in(field: str) -> Callable[[Choice, Choice], None]:
    def reason(choice: Choice, message: dict[str, Any]) -> None:
        message[field] = _THOUGHT

    return reason


def _thinks(choice: Choice, message: dict[str, Any]) -> None:
    message["content"] = f"<think>\n{_THOUGHT}\n</think>\n\n{message['content'] or ''}"


def _only_reasons(choice: Choice, message: dict[str, Any]) -> None:
    message.pop("tool_calls", None)
    message |= {"content": None, "reasoning_content": _THOUGHT}
    choice["finish_reason"] = "stop"


_OF_CALLS: dict[OddCallKind, Callable[[Choice, Choice], None]] = {
    "several": _several,
    "bad_json": _with("arguments", lambda text: text[:-1]),
    "arguments_object": _with("arguments", json.loads),
    "arguments_empty": _with("arguments", lambda _: ""),
    "arguments_null": _with("arguments", lambda _: None),
    "arguments_list": _with("arguments", lambda text: f"[{text}]"),
    "no_ids": _unnumbered,
    "same_ids": _same_ids,
    "number_ids": _numbered,
    "function_call": _legacy,
    "flat": _flat,
    "no_name": _with("name", lambda _: None),
    "unknown_name": _with("name", lambda _: "made up"),
    "finish_stop": _ended("stop"),
    "finish_null": _ended(None),
    "finish_unknown": _ended("eos_token"),
    "lost_call": _lost,
    "cut_call": _cut,
    "cut_text": _cut_text,
    "filtered": _ended("content_filter"),
    "call_in_text": _in_text("<tool_call>\n", "\n</tool_call>"),
    "call_in_fence": _in_text("I call it.\n```json\n", "\n```"),
    "never_calls": _never,
    "no_content": _without_content,
    "only_reasoning": _only_reasons,
}
_OF_ANY: dict[OddCallKind, Callable[[Choice, Choice], None]] = {
    "content_parts": _in_parts,
    "reasoning_content": _reasons_in("reasoning_content"),
    "reasoning": _reasons_in("reasoning"),
    "think": _thinks,
}

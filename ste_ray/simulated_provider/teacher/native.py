"""Native tool calling before the script, which reads and writes calls as text.

A conversation with calls becomes the one in text that says the same, and the script's reply a
message with calls where tools are offered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ste_ray.core.texts.safe_names import safe_name
from ste_ray.simulated_provider.teacher.conversation import OBSERVATION, text_of
from ste_ray.simulated_provider.teacher.script import reply

_CALL = re.compile(
    r"(?:Thought: (?P<thought>.*)\n)?Action: (?P<tool>.+)\nAction Input: (?P<arguments>.+)"
)
_ANSWER = re.compile(r"(?:Thought: .*\n)?Final Answer: (?P<text>[\s\S]*)")
_ANSWER_PROMPT = re.compile(r"at most \d+ times")
_REFUSED = "Your reply could not be used"
_NOT_MADE = "Not executed:"
# What tells the script that an answer is asked for.
_TEXT_FORM = "\n\nAction Input:\nFinal Answer:"


@dataclass(frozen=True)
class Call:
    """A call: the name under which its tool was offered, and its arguments as JSON."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Said:
    """What the teacher replies: a text, and calls where tools are offered."""

    text: str
    calls: tuple[Call, ...] = ()


def reply_natively(
    messages: Sequence[dict[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    may_call: bool,
    seed: int,
) -> Said:
    """Return the reply to messages of a request that offers tools, or that holds calls.

    Args:
        messages: of the request.
        tools: the functions that it offers.
        may_call: whether it lets the model call them.
        seed: of the script.
    """
    written = reply(list(_as_text(messages, tools)), seed)
    called = _CALL.match(written)
    if called and may_call:
        names = {function["name"] for function in tools}
        name = called["tool"].strip()
        safe = safe_name(name)
        call = Call(safe if safe in names else name, called["arguments"].strip())
        return Said(called["thought"] or "", (call,))
    if called:
        return Said(called["thought"] or "I would have to call a tool.")
    answered = _ANSWER.match(written)
    return Said(answered["text"] if answered else written)


def is_native(messages: Sequence[dict[str, Any]]) -> bool:
    """Whether messages hold calls or their results."""
    return any(one.get("role") == "tool" or one.get("tool_calls") for one in messages)


def _as_text(
    messages: Sequence[dict[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    waiting: dict[str, str] = {}  # id of a call without a result -> the call as text
    answers = False  # whether the next text of the assistant is a final answer
    for message in messages:
        text, role = text_of(message), message.get("role")
        if role == "tool":
            written = waiting.pop(str(message.get("tool_call_id")), "")
            if text.startswith(_NOT_MADE):
                continue
            if written:
                yield {"role": "assistant", "content": written}
            yield {"role": "user", "content": f"{OBSERVATION} {text}"}
            answers = True
        elif role == "assistant" and message.get("tool_calls"):
            waiting |= {str(call["id"]): _written(call, text) for call in message["tool_calls"]}
        elif role == "assistant":
            yield {"role": role, "content": f"Final Answer: {text}" if answers else text}
        elif role == "system":
            yield {"role": role, "content": text + _described(tools)}
        else:
            asks = bool(_ANSWER_PROMPT.search(text))
            refused = text.startswith(_REFUSED)
            answers = asks or refused
            told = f"{OBSERVATION} {text}" if refused else text
            yield {"role": role, "content": told + _TEXT_FORM if asks else told}


def _written(call: Mapping[str, Any], thought: str) -> str:
    function = call["function"]
    return f"Thought: {thought}\nAction: {function['name']}\nAction Input: {function['arguments']}"


def _described(tools: Sequence[Mapping[str, Any]]) -> str:
    """Return what tells the script of tools that only the request's own field documents."""
    blocks = [
        f"Tool: {function['name']}\nDescription: {function.get('description', '')}\n"
        f"Parameters: {json.dumps(function.get('parameters') or {}, ensure_ascii=False)}"
        for function in tools
    ]
    return "\n\nThe tools:\n\n" + "\n\n".join(blocks) if blocks else ""

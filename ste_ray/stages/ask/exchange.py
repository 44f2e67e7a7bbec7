"""What passes between whoever asks and the model: its reply, what it wants called, the answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.inferring.settings import Query
from ste_ray.core.records import Prediction

Status = Literal[
    "answered",  # the tool was called, and answered
    "no_call",  # the model answered without a call
    "tool_failed",  # the tool was called, and failed
    "declined",  # a person did not want the call made
    "unconfirmed",  # the call may change something, and nobody could be asked
    "not_allowed",  # the tool may not be called, or cannot be
    "wrong_arguments",  # they do not fit the tool's schema, or the tool refuses them
    "unknown_tool",  # there is no such tool
    "malformed",  # the reply is neither a call nor an answer
    "no_reply",  # the model gave none
]
#: Statuses with which a request has come to its end; the others have no answer.
SETTLED: frozenset[Status] = frozenset({"answered", "no_call", "tool_failed", "declined"})


@dataclass(frozen=True)
class Reply:
    """What the model replied, and what lets it answer after its call.

    Attributes:
        prediction: the reply.
        conclude: takes what the call returned; gives the prediction with a final answer.
    """

    prediction: Prediction
    conclude: Callable[[ToolResult], Awaitable[Prediction]]


class Assistant(Protocol):
    """The model of a setting."""

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Return what holds its connections."""

    async def reply(self, query: Query) -> Reply:
        """Answer a query, up to where a call would be made."""


@dataclass(frozen=True)
class Proposal:
    """What the model wants; nothing has been called yet.

    Attributes:
        request: what was asked.
        reply: what the model replied.
        status: what is settled already; None: the call can be made.
        thought: what it wrote before its call or answer.
        call: the call, where there is a complete one.
        changes: whether the call may change something outside.
        problem: why the call is not made, or the reply cannot be used.
        answer: the model's own, where it calls no tool.
        seconds: that the reply took.
    """

    request: str
    reply: Reply
    status: Status | None
    thought: str = ""
    call: CallTool | None = None
    changes: bool = False
    problem: str = ""
    answer: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What has become of a request.

    Attributes:
        proposal: what the model wanted.
        status: how it ended.
        prediction: the reply, with observation and final answer where there are any.
        problem: what is wrong, and what can be done.
        answer: the final one; empty: there is none.
        answer_from: who gave it.
        seconds: that all of it took.
    """

    proposal: Proposal
    status: Status
    prediction: Prediction
    problem: str
    answer: str
    answer_from: Literal["model", "tool", ""]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        found, call = self.prediction, self.proposal.call
        observed = found.observation_status != "none"
        return {
            "request": self.proposal.request,
            "setting": found.setting,
            "status": self.status,
            "output": found.output_text,
            "thought": self.proposal.thought,
            "reasoning": found.reasoning,
            "call": None if call is None else {"tool": call.tool, "arguments": call.arguments},
            "observation": {"status": found.observation_status, "text": found.observation}
            if observed
            else None,
            "answer": self.answer,
            "answer_from": self.answer_from or None,
            "problem": self.problem,
            "tokens": {
                "prompt": found.prompt_tokens,
                "completion": found.completion_tokens,
                "reasoning": found.reasoning_tokens,
            },
            "seconds": round(self.seconds, 3),
        }


def call_shown(call: CallTool) -> str:
    """Return a call as a person reads it: ``tool(argument=value, …)``, the values as JSON."""
    given = call.arguments or {}
    parts = [
        # Any other name could be written so as to look like the end of the call.
        f"{name if name.isidentifier() else _json(name)}={_json(value)}"
        for name, value in given.items()
    ]
    return f"{call.tool}({', '.join(parts)})"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)

"""What passes between whoever asks and the model: its reply, what it wants called, the answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.inferring.reading import as_text
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
#: What answers: a language model, or the script that stands in where no endpoint is configured.
Answerer = Literal["model", "script"]


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
    """The model of a setting, or what stands in for it."""

    answerer: Answerer

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
        answerer: who replied.
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
    answerer: Answerer = "model"


@dataclass(frozen=True)
class Answer:
    """What has become of a request.

    Attributes:
        proposal: what the model wanted.
        status: how it ended.
        prediction: the reply, with observation and final answer where there are any.
        problem: what is wrong, and what can be done.
        answer: the final one; empty: there is none.
        answer_from: whose words it is in.
        seconds: that all of it took.
        words_awaited: whether the model was to put what the tool answered into words.
    """

    proposal: Proposal
    status: Status
    prediction: Prediction
    problem: str
    answer: str
    answer_from: Literal["model", "script", "tool", ""]
    seconds: float
    words_awaited: bool = False

    @property
    def cut(self) -> bool:
        """Whether the answer, or without one the reply, was cut at ``infer.max_new_tokens``."""
        if self.answer_from == "tool":
            return False
        if self._final:
            return self.prediction.final_cut
        return self.prediction.output_cut and self.proposal.call is None

    @property
    def cut_advice(self) -> str:
        """What to set so that it is not cut; empty: it is whole."""
        if not self.cut:
            return ""
        found = self.prediction
        num_tokens = found.final_completion_tokens if self._final else found.completion_tokens
        if num_tokens <= 0:  # the endpoint does not count them
            return "cut at infer.max_new_tokens; raise it to see the rest"
        return (
            f"cut at {num_tokens} tokens; raise infer.max_new_tokens to see the rest, such as"
            f" infer.max_new_tokens={2 * num_tokens}"
        )

    @property
    def _final(self) -> bool:
        """Whether the answer came after that of a tool."""
        return bool(self.answer_from) and self.prediction.observation_status != "none"

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        found, call = self.prediction, self.proposal.call
        observed = found.observation_status != "none"
        return {
            "request": self.proposal.request,
            "setting": found.setting,
            "status": self.status,
            "output": as_text(found),
            "thought": self.proposal.thought,
            "reasoning": found.reasoning,
            "call": None if call is None else {"tool": call.tool, "arguments": call.arguments},
            "observation": {"status": found.observation_status, "text": found.observation}
            if observed
            else None,
            "answer": self.answer,
            "answer_from": self.answer_from or None,
            "cut": self.cut,
            "problem": self.problem,
            "tokens": {
                "prompt": found.prompt_tokens + found.final_prompt_tokens,
                "completion": found.completion_tokens + found.final_completion_tokens,
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

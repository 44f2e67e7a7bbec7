"""What a flow can ask of the world, and the answers it is sent.

A flow is a generator: it yields ``AskModel`` or ``CallTool`` and is sent ``ModelReply`` or
``ToolResult``. Nothing here performs anything; ``ste_ray.runtime`` joins flows to ports.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from functools import cached_property
from typing import Any, Literal, TypeVar

from ste_ray.core.records import (
    Fault,
    Message,
    MessageCall,
    ObservationSource,
    ObservationStatus,
    Oddity,
    Record,
    canonical_json,
    fingerprint,
)

ToolChoice = Literal["auto", "required", "none"]
Role = Literal["explorer", "judge", "paraphraser", "assistant", "scorer", "tool_simulator"]


class Sampling(Record):
    """Sampling settings of one request."""

    temperature: float = 1.0
    max_tokens: int = 360
    stop: tuple[str, ...] = ()


class OfferedTool(Record):
    """A tool that a request offers for native calls, by its true name.

    ``parameters_json`` is the JSON Schema of its arguments, its keys in their own order.
    """

    name: str
    description: str
    parameters_json: str

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The schema, read."""
        schema: dict[str, Any] = json.loads(self.parameters_json)
        return schema


class AskModel(Record):
    """Ask the model that plays ``role`` to continue ``messages``.

    ``account`` is the tool that it is charged to, for budgets per tool; empty: to the run alone.
    With ``tools`` the model may answer with native calls, as far as ``tool_choice`` allows.
    """

    role: Role
    messages: tuple[Message, ...]
    sampling: Sampling
    account: str = ""
    tools: tuple[OfferedTool, ...] = ()
    tool_choice: ToolChoice = "auto"  # says nothing without tools

    @property
    def request_hash(self) -> str:
        """Identity of the request; a recorded answer is only reused for an equal one."""
        parts = ["model", self.role, repr(self.sampling)]
        parts += [message.digest for message in self.messages]
        if self.tools:
            offered = [[one.name, one.description, one.parameters_json] for one in self.tools]
            parts.append(canonical_json([self.tool_choice, offered]))
        return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]


class ModelReply(Record):
    """The model's reply, with what went wrong before it came.

    ``text`` is the answer alone: what the model reasoned before it stands in ``reasoning``, which
    no conversation gets back. ``reasoning_tokens`` are those of ``completion_tokens`` that went
    into it, as the endpoint counts them or else by its share of the characters; they may be there
    without a text. ``context_overflow``, ``refused`` (for what the request holds, by an endpoint
    that does not say what it minds) and ``failed`` (given up, while the endpoint answers other
    requests) come with empty text, ``content_filter`` may.

    ``calls`` are native ones, by true names as far as the request offers such tools, with the ids
    that the endpoint gave, which may be empty or repeated (``core.replies.native`` mends them).
    ``finish_reason`` is "stop" for a reply that ends in calls. ``oddities`` tell what was unusual.
    """

    text: str
    finish_reason: Literal[
        "stop", "length", "content_filter", "context_overflow", "refused", "failed"
    ] = "stop"
    model: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0  # those of the prompt that the provider had in its cache
    completion_tokens: int = 0
    reasoning: str = ""
    reasoning_tokens: int = 0
    faults: tuple[Fault, ...] = ()
    calls: tuple[MessageCall, ...] = ()
    oddities: tuple[Oddity, ...] = ()

    @property
    def reasoned(self) -> bool:
        """Whether the model reasoned before it answered."""
        return bool(self.reasoning or self.reasoning_tokens)


class CallTool(Record):
    """Call ``tool`` with a JSON object given as text.

    ``account`` is the tool that is explored, also where a model calls another one.
    """

    tool: str
    arguments_json: str
    account: str = ""

    @classmethod
    def of(
        cls, tool: str, arguments_json: str, arguments: dict[str, Any], account: str = ""
    ) -> CallTool:
        """Return a call whose arguments have been read already, and go along with it."""
        call = cls(tool=tool, arguments_json=arguments_json, account=account)
        call.__dict__["arguments"] = arguments  # as cached_property keeps it
        return call

    @cached_property
    def arguments(self) -> dict[str, Any] | None:
        """The object in ``arguments_json`` where whoever made the call had it; no part of it."""
        return None

    @property
    def request_hash(self) -> str:
        """Identity of the request; a recorded answer is only reused for an equal one."""
        return fingerprint("tool", self.model_dump(exclude={"account"}))


class ToolResult(Record):
    """What came back from a tool call; ``text`` is shown to the model as the observation.

    Of an answer that was cut, ``text`` holds the first ``shown_chars`` of ``total_chars`` (None:
    nobody knows how many) and a mark that says so; ``core.texts.cutting`` makes them.
    """

    status: ObservationStatus
    text: str
    seconds: float = 0.0
    source: ObservationSource = "called"
    shown_chars: int | None = None  # None: all of the answer
    total_chars: int | None = None

    @property
    def answer(self) -> str:
        """What is there of the tool's answer, without the mark of a cut."""
        return self.text if self.shown_chars is None else self.text[: self.shown_chars]

    @property
    def num_chars(self) -> int:
        """The length of the whole answer; where it is not known, of what there is."""
        return len(self.answer) if self.total_chars is None else self.total_chars


Request = AskModel | CallTool
Answer = ModelReply | ToolResult
Result = TypeVar("Result")
Flow = Generator[Request, Answer, Result]

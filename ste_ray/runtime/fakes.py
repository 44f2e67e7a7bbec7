"""Small stand-ins for the ports, for tests and notebooks: no network, no processes, no files.

Each fulfils its port in ``ste_ray.ports`` and shows what it was asked.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

from ste_ray.core.effects import (
    Answer,
    AskModel,
    CallTool,
    Flow,
    ModelReply,
    Request,
    ToolResult,
)
from ste_ray.ports import ToolExecutor

Result = TypeVar("Result")
MODEL = "scripted"


def as_answer(request: Request, answer: Answer | str) -> Answer:
    """Return ``answer``, or what a bare text stands for: a reply, or a tool's good result."""
    if not isinstance(answer, str):
        return answer
    if isinstance(request, CallTool):
        return ToolResult(status="ok", text=answer)
    return ModelReply(text=answer, model=MODEL, prompt_tokens=10, completion_tokens=1)


def play(flow: Flow[Result], answers: Iterable[Answer | str]) -> tuple[Result, list[Request]]:
    """Run ``flow`` without an event loop; return its result and what it asked, in order.

    Raises:
        LookupError: the flow asks for more than ``answers`` holds, or for less.
    """
    left = list(answers)
    requests: list[Request] = []
    try:
        request = next(flow)
        while True:
            requests.append(request)
            if not left:
                raise LookupError(f"no answer is left for request {len(requests)}: {request!r}")
            request = flow.send(as_answer(request, left.pop(0)))
    except StopIteration as stop:
        if left:
            raise LookupError(f"the flow ended with answers left over: {left!r}") from None
        return stop.value, requests


class ScriptedModel:
    """Fulfils ``ports.ChatModel`` with replies given in advance.

    Attributes:
        requests: what was asked, in order.
    """

    def __init__(self, replies: Iterable[ModelReply | str]) -> None:
        self._replies = list(replies)
        self.requests: list[AskModel] = []

    async def ask(self, request: AskModel) -> ModelReply:
        """Return the next reply."""
        if not self._replies:
            raise LookupError(f"no reply is left for {request!r}")
        self.requests.append(request)
        reply = as_answer(request, self._replies.pop(0))
        assert isinstance(reply, ModelReply)
        return reply


class FunctionTools:
    """Fulfils ``ports.ToolExecutor`` by calling Python functions in this process.

    Attributes:
        calls: what was called, in order.
    """

    def __init__(self, functions: Mapping[str, Callable[..., object]]) -> None:
        self._functions = dict(functions)
        self.calls: list[CallTool] = []

    async def call(self, request: CallTool) -> ToolResult:
        """Call the function; what it raises is an error result."""
        self.calls.append(request)
        function = self._functions.get(request.tool)
        if function is None:
            return ToolResult(status="rejected", text=f"there is no tool {request.tool!r}")
        try:
            value = function(**json.loads(request.arguments_json))
        except Exception as error:
            return ToolResult(status="error", text=f"{type(error).__name__}: {error}")
        return ToolResult(status="ok", text=value if isinstance(value, str) else json.dumps(value))


class ConstantTool:
    """Fulfils ``ports.ToolExecutor`` by answering every call with the same text."""

    def __init__(self, text: str) -> None:
        self._result = ToolResult(status="ok", text=text)

    async def call(self, request: CallTool) -> ToolResult:
        """Return the text."""
        return self._result


class FakeToolbox:
    """Stands in for ``tools.run.toolbox.Toolbox``: ``executor`` answers the calls of all tools."""

    def __init__(self, executor: ToolExecutor) -> None:
        self._executor = executor

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def add(self, spec: object) -> None:
        """Take in a tool."""

    def remove(self, name: str) -> None:
        """Forget a tool."""

    @asynccontextmanager
    async def episode(self, episode: str, gate: object = None) -> AsyncIterator[ToolExecutor]:
        """Yield what calls the tools; nothing is limited."""
        yield self._executor


class MemoryJournal:
    """Fulfils ``ports.Journal`` in memory.

    Attributes:
        entries: scope -> step -> entry, as ``journal.load`` returns them.
    """

    def __init__(self) -> None:
        self.entries: dict[str, dict[int, dict[str, Any]]] = {}

    async def intend(self, scope: str, step: int, request: Request) -> None:
        """Record that a call is about to begin."""
        self.entries.setdefault(scope, {})[step] = {"hash": request.request_hash}

    async def record(self, scope: str, step: int, request: Request, answer: Answer) -> None:
        """Record an answer."""
        kind = "model" if isinstance(answer, ModelReply) else "tool"
        entry = {"hash": request.request_hash, "kind": kind, "answer": answer.model_dump()}
        self.entries.setdefault(scope, {})[step] = entry


class MemoryStore:
    """Fulfils ``ports.ArtifactStore`` in memory.

    Attributes:
        objects: path -> content.
        failure: raised by every method while it is set.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.failure: Exception | None = None

    def read_bytes(self, path: str) -> bytes:
        """Return the content. Raises FileNotFoundError when absent."""
        self._fail()
        if path not in self.objects:
            raise FileNotFoundError(f"there is no {path!r}")
        return self.objects[path]

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write the content."""
        self._fail()
        self.objects[path] = data

    def create_bytes(self, path: str, data: bytes) -> bool:
        """Write only if nothing is there; return whether this call wrote."""
        self._fail()
        if path in self.objects:
            return False
        self.objects[path] = data
        return True

    def exists(self, path: str) -> bool:
        """Whether there is an object at the path."""
        self._fail()
        return path in self.objects

    def list(self, prefix: str) -> Sequence[str]:
        """Return the paths below the folder ``prefix``, sorted."""
        self._fail()
        start = f"{prefix}/" if prefix else ""
        return sorted(path for path in self.objects if path.startswith(start))

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

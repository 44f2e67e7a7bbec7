"""What the runtime needs from the outside world, as Protocols that adapters fulfil."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ste_ray.core.effects import Answer, AskModel, CallTool, ModelReply, Request, ToolResult


class ChatModel(Protocol):
    """A chat model behind some endpoint."""

    async def ask(self, request: AskModel) -> ModelReply:
        """Answer ``request``.

        Raises:
            EndpointError: the endpoint refuses the key or the request for good.
            ProviderUnavailableError: it kept failing after all retries.
        """
        ...


class ToolExecutor(Protocol):
    """Something that calls tools. A tool's failure is a result, never an exception."""

    async def call(self, request: CallTool) -> ToolResult:
        """Call the tool and return what it said."""
        ...


class Journal(Protocol):
    """Answers recorded durably, so that a flow can be replayed instead of asked again."""

    def recorded(self, scope: str, step: int) -> tuple[str, Answer] | None:
        """Return the request hash and answer recorded for a step of a scope, if any."""
        ...

    def intended(self, scope: str, step: int) -> bool:
        """Whether a call that may have side effects was begun at that step."""
        ...

    async def intend(self, scope: str, step: int, request: Request) -> None:
        """Record durably, before returning, that a call with side effects is about to begin."""
        ...

    async def record(self, scope: str, step: int, request: Request, answer: Answer) -> None:
        """Record an answer; it becomes durable within the journal's flush interval."""
        ...


class ArtifactStore(Protocol):
    """Bytes under relative paths of one run, local or in object storage."""

    def read_bytes(self, path: str) -> bytes:
        """Return the content. Raises FileNotFoundError when absent, StoreError when failing."""
        ...

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write the content so that readers see all of it or nothing."""
        ...

    def create_bytes(self, path: str, data: bytes) -> bool:
        """Write only if nothing is there, atomically; return whether this call wrote."""
        ...

    def exists(self, path: str) -> bool:
        """Whether there is an object at the path."""
        ...

    def list(self, prefix: str) -> Sequence[str]:
        """Return the relative paths of all objects below ``prefix``, sorted."""
        ...


class EventSink(Protocol):
    """Receives what happens while flows run, for display and metrics."""

    def emit(self, name: str, fields: Mapping[str, object]) -> None:
        """Take note of an event; must not block or raise."""
        ...


class Clock(Protocol):
    """Time as an argument, so that tests decide what time it is."""

    def now(self) -> float:
        """Return seconds that only ever grow."""
        ...

"""What the runtime needs from the outside world, as Protocols that adapters fulfil."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ste_ray.core.effects import Answer, AskModel, CallTool, ModelReply, Request, ToolResult
from ste_ray.core.limits.grants import Claim, Grant, Used


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


class Limiter(Protocol):
    """Rate limits and budget of the whole cluster, as one process sees them."""

    async def acquire(self, claim: Claim) -> Grant:
        """Wait until the request may be sent.

        Raises:
            BudgetExhaustedError: the budget of the run or of the account allows it no more.
        """
        ...

    def settle(self, grant: Grant, used: Used) -> None:
        """Say how it ended; every grant is settled once. Must not block."""
        ...


class Journal(Protocol):
    """Records answers durably, so that a flow can be replayed instead of asked again."""

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


class RunFiles(ArtifactStore, Protocol):
    """The run as files and folders, for bulk data such as models and checkpoints.

    All methods raise StoreError when the storage fails.
    """

    @property
    def filesystem(self) -> Any:
        """The pyarrow file system that holds the run."""
        ...

    def path(self, relative: str = "") -> str:
        """Return the path of ``relative`` within ``filesystem``."""
        ...

    def address(self, relative: str) -> str:
        """Return the full address of ``relative``, for messages and for other programs."""
        ...

    def read_json(self, path: str) -> Any:
        """Return the value of a JSON object. Raises FileNotFoundError when absent."""
        ...

    def write_json(self, path: str, value: Any) -> None:
        """Write ``value`` as indented JSON."""
        ...

    def delete(self, path: str) -> None:
        """Delete the object, if there."""
        ...

    def delete_folder(self, path: str) -> None:
        """Delete all objects in the folder, if any."""
        ...

    def upload_folder(self, local_folder: str | os.PathLike[str], path: str) -> None:
        """Copy all files of a local folder to the folder ``path``."""
        ...

    def download_folder(self, path: str, local_folder: str | os.PathLike[str]) -> None:
        """Copy all objects of the folder ``path`` to a local folder, which is made if missing."""
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

"""Recorded answers of tools: real calls made once, kept with their provenance, and given again.

Each answer is one immutable object, ``FOLDER/<tool fingerprint>/<hash of the arguments>.json``, and
the first one written stays. A changed tool has another fingerprint, so that its old answers are
never taken for new ones. Only ``ok`` and ``error`` are recorded: a timeout or a dead process says
nothing about the tool's answer. What is recorded is what the wrapped executor returns, so secrets
must be masked by then.

An answer is kept by tool and arguments alone. What a tool answers by the time, by chance, or by
what an episode did before is recorded as it came first and the same from then on: replayed
episodes of stateful tools see what the first one saw. For that reason a tool that changes something
is called again in mode ``reuse``; only ``replay`` gives its recorded answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field, ValidationError

from ste_ray.core.effects import ToolResult
from ste_ray.core.records import ObservationSource, Record, canonical_json
from ste_ray.core.replies.strict_json import clip
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import RecordingMissError, StageInputError
from ste_ray.ports import ArtifactStore
from ste_ray.tools.run.executor import CheckedCall, Executor

RecordingMode = Literal["record", "reuse", "replay"]
_KEPT_STATUSES = ("ok", "error")
_SHOWN_CHARS = 200


class RecordedAnswer(Record):
    """What a tool answered, and where the answer comes from."""

    schema_version: Literal[1] = 1
    tool: str
    tool_fingerprint: str
    kind: str  # of the executor
    arguments_json: str  # canonical
    status: Literal["ok", "error"]
    text: str
    seconds: float = Field(ge=0)  # of the call that was recorded
    source: ObservationSource
    shown_chars: int | None = None  # see ``ToolResult``
    total_chars: int | None = None
    recorded_at: datetime  # UTC

    def result(self) -> ToolResult:
        """Return it as the result of a call; what was simulated stays so for ever."""
        source: ObservationSource = "simulated" if self.source == "simulated" else "recorded"
        return ToolResult(
            status=self.status,
            text=self.text,
            seconds=self.seconds,
            source=source,
            shown_chars=self.shown_chars,
            total_chars=self.total_chars,
        )


@dataclass
class _Flight:
    """A call under way, and how many wait for what comes of it."""

    task: asyncio.Task[ToolResult]
    num_waiting: int = 0


class RecordingExecutor:
    """Fulfils ``Executor`` around another one, of any kind.

    Args:
        inner: calls the tools; its results hold no secrets.
        store: where the answers are; its methods may block.
        mode: ``record``: every call is made, and the first answer kept. ``reuse``: a recorded
            answer is given where there is one, otherwise the call is made and recorded, equal calls
            at once only once; a tool that is neither read-only nor idempotent is always called.
            ``replay``: recorded answers only, nothing is called.
        now: the time, for the provenance.
        folder: where in the store; empty: at its top.
    """

    def __init__(
        self,
        inner: Executor,
        store: ArtifactStore,
        mode: RecordingMode,
        now: Callable[[], datetime],
        folder: str = "",
    ) -> None:
        self._inner = inner
        self._store = store
        self._mode = mode
        self._now = now
        self._folder = folder.strip("/")
        self._flights: dict[str, _Flight] = {}

    async def prepare(self, call: CheckedCall) -> None:
        """See ``Executor``; a replay calls nobody."""
        if self._mode != "replay":
            await self._inner.prepare(call)

    async def call(self, call: CheckedCall) -> ToolResult:
        """Return the recorded answer or that of the tool, as the mode says.

        Raises:
            RecordingMissError: in mode ``replay``, there is no recorded answer.
            StageInputError: the recorded object is broken, or belongs to another call.
            StoreError: the store fails.
        """
        path = self.path(call)
        if self._mode == "replay":
            found = await self._read(path, call)
            if found is None:
                raise RecordingMissError(self._miss(path, call))
            return found
        if self._mode == "reuse" and _is_reusable(call.spec):
            return await self._once(path, call)
        result = await self._inner.call(call)
        await self._keep(path, call, result)
        return result

    async def verify(self, specs: Sequence[ToolSpec]) -> None:
        """See ``Executor``; where nothing is called, nothing is verified."""
        if self._mode != "replay":
            await self._inner.verify(specs)

    def preview(self, call: CheckedCall) -> str:
        """See ``Executor``; looks into the store, and blocks as long as that takes."""
        text = self._inner.preview(call)
        path = self.path(call)
        looks = self._mode == "replay" or (self._mode == "reuse" and _is_reusable(call.spec))
        if looks and self._store.exists(path):
            return f"{text} (not called: the recorded answer {path!r} is used)"
        if self._mode == "replay":
            return f"{text} (not called, and an error: no answer is recorded as {path!r})"
        return text

    async def end_episode(self, episode: str) -> None:
        """See ``Executor``."""
        await self._inner.end_episode(episode)

    async def aclose(self) -> None:
        """See ``Executor``."""
        await self._inner.aclose()

    def path(self, call: CheckedCall) -> str:
        """Return where in the store the answer to a call is, or would be."""
        arguments = canonical_json(call.arguments).encode(errors="surrogatepass")
        name = f"{call.spec.fingerprint}/{hashlib.sha256(arguments).hexdigest()[:32]}.json"
        return f"{self._folder}/{name}" if self._folder else name

    async def _once(self, path: str, call: CheckedCall) -> ToolResult:
        """Let equal calls at once share one; it ends when none of them waits any longer."""
        flight = self._flights.get(path)
        if flight is None:
            flight = _Flight(asyncio.create_task(self._reuse(path, call)))
            self._flights[path] = flight
        flight.num_waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.num_waiting -= 1
            if not flight.num_waiting or flight.task.done():
                await self._end(path, flight)

    async def _end(self, path: str, flight: _Flight) -> None:
        # First of all, so that no newcomer waits for a call that is being cancelled.
        if self._flights.get(path) is flight:
            del self._flights[path]
        if not flight.task.done():
            flight.task.cancel()
            await asyncio.wait([flight.task])
            if not flight.task.cancelled():
                flight.task.exception()  # nobody waits for it; a look keeps it out of the log

    async def _reuse(self, path: str, call: CheckedCall) -> ToolResult:
        found = await self._read(path, call)
        if found is not None:
            return found
        result = await self._inner.call(call)
        if await self._keep(path, call, result):
            return result
        # Somebody else was faster: their answer is the one that all others get.
        return await self._read(path, call) or result

    async def _keep(self, path: str, call: CheckedCall, result: ToolResult) -> bool:
        """Record a result; return False where another one is recorded already."""
        if result.status not in _KEPT_STATUSES:
            return True
        answer = RecordedAnswer.model_validate(
            {
                **_identity(call),
                **result.model_dump(),
                "kind": call.spec.kind,
                "recorded_at": self._now().astimezone(UTC),
            }
        )
        return await asyncio.to_thread(self._store.create_bytes, path, _encode(answer))

    async def _read(self, path: str, call: CheckedCall) -> ToolResult | None:
        try:
            data = await asyncio.to_thread(self._store.read_bytes, path)
        except FileNotFoundError:
            return None
        answer = _decode(path, data)
        for field, expected in _identity(call).items():
            if (found := getattr(answer, field)) != expected:
                raise StageInputError(
                    f"the recorded answer {path!r} has {field}={clip(found)}, where the call has "
                    f"{clip(expected)}; delete it and run again"
                )
        return answer.result()

    def _miss(self, path: str, call: CheckedCall) -> str:
        arguments = clip(canonical_json(call.arguments), _SHOWN_CHARS)
        return (
            f"tool {call.spec.name!r} has no recorded answer for the arguments {arguments} "
            f"({path!r}), and recording mode 'replay' calls nothing; use recording mode 'reuse' "
            "to call the tool and record its answer"
        )


def _is_reusable(spec: ToolSpec) -> bool:
    # A simulated tool changes nothing, whatever the one it stands for does.
    return spec.repeatable or spec.kind == "simulated"


def _identity(call: CheckedCall) -> dict[str, str]:
    return {
        "tool": call.spec.name,
        "tool_fingerprint": call.spec.fingerprint,
        "arguments_json": canonical_json(call.arguments),
    }


def _encode(answer: RecordedAnswer) -> bytes:
    fields = answer.model_dump(exclude_none=True) | {"recorded_at": answer.recorded_at.isoformat()}
    # Half of a surrogate pair becomes its escape sequence, and is read back as it was.
    return f"{json.dumps(fields, indent=1, ensure_ascii=False)}\n".encode(errors="backslashreplace")


def _decode(path: str, data: bytes) -> RecordedAnswer:
    try:
        return RecordedAnswer.model_validate(json.loads(data))
    except (ValidationError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise StageInputError(
            f"the recorded answer {path!r} cannot be read: {clip(reason, _SHOWN_CHARS)}; "
            "delete it and run again"
        ) from None

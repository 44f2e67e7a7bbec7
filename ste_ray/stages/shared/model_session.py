"""Asks models: what the driver of a stage opens for it, and a session of each process that asks.

The driver opens endpoints, limits and budget (``open_models``) and hands ``Models`` to its workers.
Each of them opens a ``ModelSession``: chat client, limiter client, and a journal of the answers.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

from ste_ray.core.effects import AskModel, CallTool, Flow, ModelReply, Role
from ste_ray.llm.chat import open_chat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import Endpoints
from ste_ray.llm.health import OnEvent
from ste_ray.ports import ChatModel, EventSink, Limiter, ToolExecutor
from ste_ray.runtime import journal, segments
from ste_ray.runtime.drive import NOTHING, Ports, drive, repeatable, tell
from ste_ray.runtime.events import NullEvents
from ste_ray.runtime.journal import Recorded, SegmentJournal
from ste_ray.runtime.limiter_client import LimiterClient
from ste_ray.runtime.limiter_lane import GrantCall
from ste_ray.stages.base import StageContext
from ste_ray.stages.shared.endpoints import open_endpoints
from ste_ray.stages.shared.limit_actor import Limiting, limited
from ste_ray.store.artifacts import RunStore

Result = TypeVar("Result")


class OpenChat(Protocol):
    """Makes what asks the endpoints; see ``llm.chat.open_chat``."""

    def __call__(
        self,
        endpoints: Endpoints,
        config: LLMConfig,
        *,
        limiter: Limiter,
        on_event: OnEvent | None,
        seed: int,
    ) -> Any:
        """Return a ``ports.ChatModel`` that is also an async context manager."""


@dataclass(frozen=True)
class Models:
    """The models of a stage, for its workers: where they are, and who grants requests."""

    endpoints: Endpoints
    grant_call: GrantCall
    open_chat: OpenChat = field(default=open_chat)


@contextmanager
def open_models(
    context: StageContext, stage: str, roles: Sequence[Role], journals: str, num_clients: int
) -> Iterator[tuple[Models, Limiting]]:
    """Open the endpoints of ``roles``; what the journals below ``journals`` hold was spent.

    Args:
        context: of the stage.
        stage: its name.
        roles: whom it asks.
        journals: the folder of its journals.
        num_clients: sessions that will be open at the same time.

    Raises:
        EndpointError: an endpoint cannot be reached or refuses the key.
        ConfigError: a budget in dollars, and a model whose price is not known.
    """
    store = context.store
    with open_endpoints(context, stage, roles) as endpoints:
        folders = sorted({path.rpartition("/")[0] for path in store.list(journals)})
        for folder in folders:
            segments.seal(store, folder, context.epoch)
        entries = (entry for folder in folders for entry in journal.iter_entries(store, folder))
        with limited(context, stage, endpoints, entries, num_clients) as limiting:
            yield Models(endpoints, limiting.grant_call), limiting


@dataclass(frozen=True)
class JournalPlace:
    """Where a session records answers.

    Attributes:
        store: of the run.
        folder: of the journal, relative to the run.
        epoch: of the run lock.
        flush_seconds: bound on what a crash can lose.
    """

    store: RunStore
    folder: str
    epoch: int
    flush_seconds: float


class ModelSession:
    """Drives flows of one process, and records each answer; an async context manager.

    Args:
        models: what the driver has opened.
        config: of the requests.
        place: of the journal.
        name: of this session, which no other one of the stage and epoch has: it is the writer of
            its journal, and a client of the limit server.
        seed: of the run; with the name it decides the jitter of repeated requests.
        events: is told of every answer.
        on_event: is told when requests to an endpoint pause, and when they go on.

    Attributes:
        journal: where answers are recorded.
    """

    def __init__(
        self,
        models: Models,
        config: LLMConfig,
        place: JournalPlace,
        *,
        name: str,
        seed: int,
        events: EventSink | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self._models = models
        self._config = config
        self._name = name
        # Sessions that wait the same times would return to a busy endpoint all at once.
        self._seed = zlib.crc32(name.encode()) ^ seed
        self._events = events or NullEvents()
        self._on_event = on_event
        self._chat: ChatModel | None = None
        self._open = AsyncExitStack()
        self._num_asked = 0
        self.journal = SegmentJournal(
            place.store,
            place.folder,
            epoch=place.epoch,
            writer=name,
            flush_seconds=place.flush_seconds,
        )

    async def __aenter__(self) -> Self:
        models = self._models
        async with AsyncExitStack() as stack:
            limiter = LimiterClient(self._name, models.grant_call, self._seed)
            stack.push_async_callback(limiter.aclose)
            for endpoint in models.endpoints.roles.values():
                limiter.connect(endpoint.key)
            self._chat = await stack.enter_async_context(
                models.open_chat(
                    models.endpoints,
                    self._config,
                    limiter=limiter,
                    on_event=self._on_event,
                    seed=self._seed,
                )
            )
            # Registered last and so done first: what was paid for is durable, whatever follows.
            stack.push_async_callback(self.journal.close)
            self._open = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def run(
        self,
        flow: Flow[Result],
        scope: str,
        recorded: Recorded | None = None,
        *,
        tools: ToolExecutor | None = None,
        may_repeat: Callable[[CallTool], bool] = repeatable,
    ) -> Result:
        """Drive a flow to its end; see ``runtime.drive.drive``.

        Args:
            flow: a fresh generator.
            scope: its identity in the journal.
            recorded: what is recorded of it and not asked again; None: nothing.
            tools: what calls of tools go to.
            may_repeat: whether a call whose answer was lost may be made again.
        """
        ports = Ports(self._opened, self.journal, self._events, tools, may_repeat)
        return await drive(flow, scope, ports, recorded or NOTHING)

    async def ask(self, request: AskModel, purpose: str) -> ModelReply:
        """Answer a request outside of any flow; it is recorded for what it costs, not for replay.

        ``purpose`` begins its scope in the journal.
        """
        # Of its own for each: what is asked again costs again.
        self._num_asked += 1
        scope = f"{purpose} {request.request_hash} {self._num_asked}"
        reply = await self._opened.ask(request)
        await self.journal.record(scope, 0, request, reply)
        tell(self._events, request, reply, scope, replayed=False)
        return reply

    @property
    def _opened(self) -> ChatModel:
        if self._chat is None:
            raise RuntimeError("ModelSession must be entered with 'async with' before it is used")
        return self._chat

"""An exploration in one process: explorers in an event loop of their own thread, and no Ray."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.effects import AskModel, ModelReply
from ste_ray.core.exploring.text_turns import ANSWER_STOP
from ste_ray.core.exploring.trial import QUERY_STOP
from ste_ray.core.limits.budget import Bounds, Budget
from ste_ray.core.limits.grants import Claim, Used
from ste_ray.core.records import Episode
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.llm.endpoint import Endpoints, RoleEndpoint
from ste_ray.runtime import segments
from ste_ray.runtime.fakes import ConstantTool, FakeToolbox
from ste_ray.stages.base import StageContext
from ste_ray.stages.explore.coordinator import Coordinator, packed
from ste_ray.stages.explore.exploration import Departure, Exploration
from ste_ray.stages.explore.explorer import Explorer, OpenSpans
from ste_ray.stages.explore.messages import Directive, News, Report, Status
from ste_ray.stages.explore.parts import sort_episodes
from ste_ray.stages.explore.rounds import rules_of
from ste_ray.stages.shared.limit_server import LimitServer
from ste_ray.stages.shared.model_session import Models
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.tables import read_records

ENDPOINT = RoleEndpoint(base_url="http://127.0.0.1:9/v1", model="m")
CALLS_PER_TRIAL = 4  # request, call, final answer, reflection
_SECONDS = 60.0  # for what happens by itself


def tool(name: str, **fields: Any) -> ToolSpec:
    """A tool that nobody really calls."""
    values = {
        "name": name,
        "description": "Stores a record.",
        "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}},
        "executor": {"kind": "python", "target": "builtins:dict"},
        "effect": "read_only",
    }
    return ToolSpec(**(values | fields))


def good_reply(request: AskModel) -> str:
    """What a model says that keeps to the format; equal requests get equal replies."""
    if request.sampling.stop == QUERY_STOP:
        return f"Store record {request.request_hash}."
    if request.sampling.stop != ANSWER_STOP:
        return "Yes, it was."
    if request.messages[-1].content.startswith("Observation:"):
        return "Thought: I now know the answer\nFinal Answer: It is stored."
    return f'Thought: try\nAction: {request.account}\nAction Input: {{"n": 1}}'


class Model:
    """Stands in for all chats; ``reply`` may raise.

    Attributes:
        asked: what all explorers asked, in order.
        may_answer: further requests wait for this; cleared with the answer of number ``pause_at``.
    """

    def __init__(
        self, reply: Callable[[AskModel], str] = good_reply, pause_at: int | None = None
    ) -> None:
        self.reply = reply
        self.asked: list[AskModel] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._pause_at = pause_at

    def open(self, *_: Any, limiter: Any, **__: Any) -> _Chat:
        """Fulfil ``stages.shared.model_session.OpenChat``."""
        return _Chat(self, limiter)

    def note(self, request: AskModel) -> None:
        """Note that a request is answered."""
        self.asked.append(request)
        if len(self.asked) == self._pause_at:
            self.may_answer.clear()

    def until_paused(self) -> None:
        """Wait until so much was asked."""
        until(lambda: not self.may_answer.is_set())


class _Chat:
    def __init__(self, model: Model, limiter: Any) -> None:
        self.model, self.limiter = model, limiter

    async def __aenter__(self) -> _Chat:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def ask(self, request: AskModel) -> ModelReply:
        grant = await self.limiter.acquire(Claim(ENDPOINT.key, request.account, 10, 5))
        try:
            await _until(self.model.may_answer.is_set)
            self.model.note(request)
            text = self.model.reply(request)
        finally:
            self.limiter.settle(grant, Used(10, 5))
        return ModelReply(text=text, model="m", prompt_tokens=10, completion_tokens=5)


class Clock:
    """A clock that a test can put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.monotonic() + self.ahead


class LocalFleet:
    """Fulfils ``stages.explore.exploration.Fleet`` in this process.

    Attributes:
        explorers: those that were started, by name.
        lost: names of explorers, with why, that ``wait`` will tell of as departed.
        silent: names of explorers whose reports do not get through.
        clock: of the coordinator.
        open_spans: makes what makes spans of explorers; None: nothing does.
    """

    def __init__(self, context: StageContext, models: Models) -> None:
        self.explorers: dict[str, Explorer] = {}
        self.lost: dict[str, str] = {}
        self.silent: set[str] = set()
        self.clock = Clock()
        self.open_spans: OpenSpans | None = None
        self._context = context
        self._models = models
        self._runs: dict[str, asyncio.Task[bool]] = {}
        self._handed_on: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.coordinator: Coordinator

    def start_coordinator(self, tools: dict[str, bytes], num_explorers: int) -> None:
        section = self._context.config.explore
        self.coordinator = Coordinator(
            self._context.store,
            self._context.epoch,
            tools,
            episodes_per_tool=section.episodes_per_tool,
            trials_per_episode=section.trials_per_episode,
            num_explorers=num_explorers,
            lease_seconds=section.lease_seconds,
            clock=self.clock,
            rules=rules_of(section),
        )
        self._do(self.coordinator.recover())

    def start_explorer(self, name: str) -> None:
        async def start() -> None:
            explorer = Explorer(
                name,
                self._context.config,
                self._models,
                self._context.store,
                self._context.epoch,
                self._exchange,
                open_toolbox=lambda *_: FakeToolbox(ConstantTool("stored")),
                open_spans=self.open_spans,
            )
            self.explorers[name] = explorer
            self._runs[name] = asyncio.create_task(explorer.run())

        self._do(start())

    def wait(self, seconds: float) -> Sequence[Departure]:
        time.sleep(min(seconds, 0.02))
        gone = [Departure(name, self.lost.pop(name)) for name in list(self.lost)]
        for name in [name for name, run in self._runs.items() if run.done()]:
            if self._runs.pop(name).result():
                gone.append(Departure(name))
        return gone

    def hand_on(self, name: str) -> bool:
        if name in self._handed_on:
            return False
        self._handed_on.add(name)
        # Before its end, at which it writes all that it has: of a process that is killed, nothing
        # of that would be there.
        self._do(self.coordinator.lost(name))
        self._do(_ended([run] if (run := self._runs.pop(name, None)) else []))
        return True

    def status(self) -> Status:
        status: Status = self._do(self.coordinator.status())
        return status

    def news(self) -> News:
        news: News = self._do(self.coordinator.news())
        return news

    def await_explorers(self) -> None:
        runs = list(self._runs.values())
        until(lambda: all(run.done() for run in runs))

    def close(self, tell: Callable[[News], None]) -> None:
        self.silent.clear()
        for name in self._runs:
            self._do(self.explorers[name].stop())
        self.await_explorers()
        tell(self.news())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _exchange(self, name: str, report: Report) -> Directive:
        await _until(lambda: name not in self.silent)
        return await self.coordinator.exchange(name, report)

    def _do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_SECONDS)


async def _until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def _ended(runs: Sequence[asyncio.Task[bool]]) -> None:
    for run in runs:
        run.cancel()
    await asyncio.gather(*runs, return_exceptions=True)


class Run:
    """A run that is explored in this process, as often as a test likes.

    Attributes:
        said: the lines for the person who waits.
        model: asked by all explorers.
        server: grants their requests.
    """

    def __init__(self, folder: Path, model: Model | None = None, num_tools: int = 4) -> None:
        self.store: RunStore = open_store(str(folder))
        self.said: list[str] = []
        self.model = model or Model()
        self.server = LimitServer({})
        self.tools = {name: tool(name) for name in (f"tool_{n}" for n in range(num_tools))}
        self._epoch = 0

    def fleet(self, *overrides: str, max_calls: int | None = None) -> LocalFleet:
        """Begin an attempt; ``max_calls`` is its budget."""
        self._epoch += 1
        for folder in (layout.EXPLORE_JOURNAL, layout.EPISODE_PARTS):
            segments.seal(self.store, folder, self._epoch)
        settings = ["explore.episodes_per_tool=2", "explore.trials_per_episode=2"]
        config = load_config(None, [*settings, "flush_seconds=0.05", *overrides])
        self.context = StageContext(
            config=config, store=self.store, progress=self.said.append, epoch=self._epoch
        )
        bounds = Bounds(max_calls=max_calls)
        self.server = LimitServer({}, Budget(bounds, Bounds()) if bounds.limited else None)

        async def grant(request: Any) -> Any:
            return self.server.grant(request)

        endpoints = Endpoints(roles={"explorer": ENDPOINT})
        return LocalFleet(self.context, Models(endpoints, grant, self.model.open))

    def explore(self, fleet: LocalFleet) -> Status:
        """Explore with a fleet, to the end of the attempt."""
        lent = {name: packed(s.model_dump_json().encode()) for name, s in self.tools.items()}
        return Exploration(self.context, fleet, self.server).run(lent)

    def episodes(self) -> list[Episode]:
        """What all attempts together have stored, in order, without the times of calls."""
        sort_episodes(self.store, list(self.tools), self.context.config.explore.episodes_per_tool)
        return read_records(self.store, "explore/episodes", Episode)


@contextmanager
def meanwhile(model: Model, action: Callable[[], None]) -> Iterator[None]:
    """Do something while the body explores, and let ``model`` answer then; raise what it raises."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            action()
        except BaseException as error:
            failures.append(error)
        finally:
            model.may_answer.set()

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if failures:
        raise failures[0]


def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens by itself."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)

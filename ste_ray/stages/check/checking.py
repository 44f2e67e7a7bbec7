"""Sends the test requests of a run through an endpoint, and compares what comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ste_ray.config import Config
from ste_ray.core.effects import Sampling
from ste_ray.core.inferring.served import ToolsSent, served_flow
from ste_ray.core.inferring.settings import Query
from ste_ray.core.records import Prediction
from ste_ray.core.scoring.served import (
    ComparedReply,
    ServedSummary,
    compare_replies,
    summarise_served,
)
from ste_ray.llm.attempts import open_health
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.llm.timed import TimedChat, timed
from ste_ray.runtime.bounded import bounded
from ste_ray.runtime.drive import Ports, drive
from ste_ray.runtime.events import NullEvents
from ste_ray.runtime.journal import NullJournal
from ste_ray.stages.check.recorded import CheckedRun

_SECONDS_BETWEEN_LINES = 15.0


@dataclass(frozen=True)
class Asking:
    """How requests are sent.

    Attributes:
        tools: which ones go along.
        system: whether the setting's system message does.
        concurrency: requests in flight.
    """

    tools: ToolsSent
    system: bool = True
    concurrency: int = 1


@dataclass(frozen=True)
class CheckedWay:
    """What came of asking in one way, streamed or not."""

    summary: ServedSummary
    replies: tuple[ComparedReply, ...]

    @property
    def differing(self) -> list[ComparedReply]:
        """The requests whose call is not as recorded."""
        return [one for one in self.replies if one.recorded is not None and not one.same]

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            **self.summary.model_dump(mode="json"),
            "differing_share": self.summary.differing_share,
            "accuracy_fall": self.summary.accuracy_fall,
            "replies": [one.model_dump(mode="json") for one in self.replies],
        }


async def check_way(
    run: CheckedRun,
    endpoint: RoleEndpoint,
    config: Config,
    asking: Asking,
    streamed: bool,
    say: Callable[[str], None],
) -> CheckedWay:
    """Send all requests, and compare their replies with what was recorded.

    Args:
        run: the requests.
        endpoint: where they go.
        config: how often they are repeated, and the sampling of replies.
        asking: how they are sent.
        streamed: whether replies are streamed.
        say: tells how far it is, and that the endpoint fails.

    Raises:
        EndpointError: the endpoint refuses the key or every request.
        ProviderUnavailableError: it keeps failing.
    """
    section = config.infer
    sampling = Sampling(temperature=section.temperature, max_tokens=section.max_new_tokens)
    how = "streamed" if streamed else "plain"
    progress = _Progress(f"check: {how}", len(run.requests), say)
    health = open_health(endpoint, config.llm, lambda _, told: say(_pause(told)))
    chat = TimedChat(endpoint, config.llm, streamed, health=health, seed=config.seed)

    async def ask(query: Query, recorded: Prediction) -> ComparedReply:
        flow = served_flow(
            query,
            recorded,
            run.setting,
            run.material,
            sampling,
            asking.tools,
            run.learned,
            asking.system,
        )
        ports = Ports(chat, NullJournal(), NullEvents())
        with timed() as timings:
            served = await drive(flow, recorded.example_id, ports)
        progress.count()
        last = timings[-1] if timings else None
        return compare_replies(recorded, served, run.material.specs, last)

    async with chat:
        started = time.perf_counter()
        makers = [lambda pair=pair: ask(*pair) for pair in run.requests]
        replies: list[ComparedReply] = await bounded(makers, asking.concurrency)
        seconds = time.perf_counter() - started
    return CheckedWay(summarise_served(replies, seconds, streamed), tuple(replies))


class _Progress:
    """Says now and then how many requests are answered."""

    def __init__(self, what: str, total: int, say: Callable[[str], None]) -> None:
        self._what, self._total, self._say = what, total, say
        self._done = 0
        self._said_at = time.monotonic()

    def count(self) -> None:
        self._done += 1
        if time.monotonic() - self._said_at >= _SECONDS_BETWEEN_LINES:
            self._said_at = time.monotonic()
            self._say(f"{self._what}, {self._done} of {self._total} requests answered")


def _pause(told: Mapping[str, Any]) -> str:
    if told.get("recovered"):
        return "check: the endpoint answers again"
    return f"check: the endpoint fails ({told['reason']}); it is tried again for a while"

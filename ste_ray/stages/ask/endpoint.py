"""An endpoint answers requests; what it replies is recorded nowhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from ste_ray.config import Config
from ste_ray.core.effects import Flow, Sampling, ToolResult
from ste_ray.core.inferring.answering import ask_flow, conclude_flow
from ste_ray.core.inferring.settings import PromptMaterial, Query, Setting
from ste_ray.core.limits.budget import Spending
from ste_ray.core.limits.grants import GrantReply, GrantRequest
from ste_ray.core.records import Prediction
from ste_ray.llm.chat import open_chat
from ste_ray.llm.endpoint import Endpoints
from ste_ray.llm.prices import require_prices
from ste_ray.ports import ChatModel
from ste_ray.runtime.drive import Ports, drive
from ste_ray.runtime.events import NullEvents
from ste_ray.runtime.journal import NullJournal
from ste_ray.runtime.limiter_client import LimiterClient
from ste_ray.stages.ask.exchange import Answerer, Reply
from ste_ray.stages.shared.limit_server import LimitServer
from ste_ray.stages.shared.spending import open_budget

Result = TypeVar("Result")


class EndpointAssistant:
    """Fulfils ``exchange.Assistant`` with an endpoint, within its rate limits and the budget.

    The budget bounds what is spent here; what the stages of the run have spent does not count.

    Attributes:
        answerer: a model, or the script that stands in for one.

    Args:
        endpoints: checked, that of the assistant among them.
        setting: what prompts show.
        material: what they are made of.
        config: how it is asked.

    Raises:
        ConfigError: a budget in dollars, and a model whose price is not known.
    """

    def __init__(
        self, endpoints: Endpoints, setting: Setting, material: PromptMaterial, config: Config
    ) -> None:
        require_prices(endpoints.models.values(), config.llm, config.budget)
        self.answerer: Answerer = "script" if endpoints.scripted else "model"
        self._endpoints = endpoints
        self._setting = setting
        self._material = material
        self._config = config
        section = config.infer
        self._sampling = Sampling(
            temperature=section.temperature, max_tokens=section.max_new_tokens
        )
        budget = open_budget(config.budget, {}, Spending())
        self._limits = LimitServer(endpoints.limits(), budget, num_clients=1)
        self._chat: ChatModel | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Hold the connections."""
        config = self._config
        async with AsyncExitStack() as stack:
            limiter = LimiterClient("ask", self._grant, config.seed)
            stack.push_async_callback(limiter.aclose)
            chat = open_chat(self._endpoints, config.llm, limiter=limiter, seed=config.seed)
            self._chat = await stack.enter_async_context(chat)
            yield

    async def reply(self, query: Query) -> Reply:
        """Answer a query, up to where a call would be made."""
        flow = ask_flow(query, self._setting, self._material, self._sampling)
        asked = await self._drive(flow)

        async def conclude(result: ToolResult) -> Prediction:
            return await self._drive(conclude_flow(asked, result, self._sampling))

        return Reply(asked.prediction, conclude)

    async def _drive(self, flow: Flow[Result]) -> Result:
        if self._chat is None:
            raise RuntimeError("EndpointAssistant must be opened before it is asked")
        return await drive(flow, "ask", Ports(self._chat, NullJournal(), NullEvents()))

    async def _grant(self, request: GrantRequest) -> GrantReply:
        return self._limits.grant(request)

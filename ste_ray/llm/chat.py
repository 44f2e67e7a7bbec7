"""Routes each question to the endpoint and model that play its role."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Self

from ste_ray.core.effects import AskModel, ModelReply, Role
from ste_ray.llm.attempts import EndpointChat, open_health
from ste_ray.llm.claims import Cost
from ste_ray.llm.client import OpenAIChat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import Endpoints, RoleEndpoint
from ste_ray.llm.health import EndpointHealth, OnEvent
from ste_ray.llm.prices import cost_of
from ste_ray.ports import Limiter


class Chat:
    """Fulfils ``ports.ChatModel`` for all roles of a stage; an async context manager.

    Roles with equal endpoints share one chat; those with equal ``RoleEndpoint.key`` share the
    breaker and ``llm.max_concurrency``, so that one endpoint that pauses holds up no other.

    Args:
        endpoints: as ``checking.check_endpoints`` returned them.
        config: timeouts, attempts and concurrency.
        limiter: rate limits and budget; None: none.
        cost: what tokens cost; None: nothing.
        on_event: see ``health.EndpointHealth``.
        seed: of the jitter between attempts; should differ between processes.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        config: LLMConfig,
        *,
        limiter: Limiter | None = None,
        cost: Cost | None = None,
        on_event: OnEvent | None = None,
        seed: int = 0,
    ) -> None:
        healths: dict[str, EndpointHealth] = {}
        slots: dict[str, asyncio.Semaphore] = {}
        chats: list[tuple[RoleEndpoint, EndpointChat]] = []
        self._by_role: dict[Role, EndpointChat] = {}
        for role, endpoint in endpoints.roles.items():
            known = [chat for other, chat in chats if other == endpoint]
            if not known:
                if endpoint.key not in healths:
                    healths[endpoint.key] = open_health(endpoint, config, on_event)
                    slots[endpoint.key] = asyncio.Semaphore(config.max_concurrency)
                chat = _chat_class(endpoint)(
                    endpoint,
                    config,
                    limiter=limiter,
                    cost=cost,
                    seed=seed + len(chats),
                    health=healths[endpoint.key],
                    slots=slots[endpoint.key],
                )
                chats.append((endpoint, chat))
                known = [chat]
            self._by_role[role] = known[0]
        self._chats = [chat for _, chat in chats]
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for chat in self._chats:
                await stack.enter_async_context(chat)
            self._open = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def ask(self, request: AskModel) -> ModelReply:
        """Answer ``request``; see ``attempts.EndpointChat.ask``."""
        return await self._by_role[request.role].ask(request)


def open_chat(
    endpoints: Endpoints,
    config: LLMConfig,
    *,
    limiter: Limiter | None = None,
    on_event: OnEvent | None = None,
    seed: int = 0,
) -> Chat:
    """Return a chat for all roles, with the prices of ``config``; see ``Chat``."""
    return Chat(
        endpoints, config, limiter=limiter, cost=cost_of(config), on_event=on_event, seed=seed
    )


def _chat_class(endpoint: RoleEndpoint) -> Callable[..., EndpointChat]:
    if endpoint.provider == "compatible":
        return OpenAIChat
    # The SDK takes a second to import, which most runs need not spend in every process.
    from ste_ray.llm.sdk import SdkChat

    return SdkChat

"""Spans of an exploration, by OpenTelemetry's semantic conventions for generative AI.

An episode is ``invoke_agent explorer`` and a trace of its own; within it stand ``chat MODEL`` for
each request to a model and ``execute_tool TOOL`` for each call that is really made. What is
replayed from a journal has no spans: nothing is asked. Texts are in no span, neither what models
are told and say nor arguments and results; names, counts and times are.
Source: opentelemetry.io/docs/specs/semconv/gen-ai.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Thread
from typing import Any, Self
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from ste_ray import __version__
from ste_ray.core.effects import AskModel, CallTool, ModelReply, ToolResult
from ste_ray.core.records import Episode
from ste_ray.llm.endpoint import Endpoints, RoleEndpoint
from ste_ray.ports import ChatModel, ToolExecutor
from ste_ray.stages.shared.model_session import OpenChat

AGENT = "explorer"
_CLOSING_SECONDS = 10.0
_PROVIDERS = {
    "compatible": "openai",
    "openai": "openai",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
}
_GIVEN_UP = frozenset({"content_filter", "context_overflow", "refused", "failed"})
_NO_ERRORS = frozenset({"ok", "withheld"})
_conversation: ContextVar[str] = ContextVar("conversation", default="")

Attribute = str | bool | int | float | Sequence[str]


class ExplorationSpans:
    """Makes the spans of one explorer.

    Args:
        provider: takes them; it is shut down by ``close``.
        endpoints: who answers in which role.
        run: name of the run.
    """

    def __init__(self, provider: TracerProvider, endpoints: Endpoints, run: str) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("ste_ray", __version__)
        self._endpoints = endpoints
        self._run = run

    @contextmanager
    def episode(self, tool: str, number: int, scope: str) -> Iterator[_EpisodeSpan]:
        """Within, what is asked and called belongs to this episode.

        Args:
            tool: that is explored.
            number: of the episode.
            scope: its identity.
        """
        about = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": AGENT,
            "gen_ai.conversation.id": scope,
            **_of_endpoint(self._endpoints.roles.get("explorer")),
            "ste.run": self._run,
            "ste.tool": tool,
            "ste.episode": number,
        }
        before = _conversation.set(scope)
        try:
            with self._span(f"invoke_agent {AGENT}", about) as span:
                yield _EpisodeSpan(span)
        finally:
            _conversation.reset(before)

    def chat(self, open_chat: OpenChat) -> OpenChat:
        """Return what opens the same chats, whose requests have spans."""

        def opened(endpoints: Endpoints, *arguments: Any, **options: Any) -> _TracedChat:
            return _TracedChat(self, open_chat(endpoints, *arguments, **options))

        return opened

    def tools(self, executor: ToolExecutor) -> ToolExecutor:
        """Return what calls the same tools, with spans."""
        return _TracedTools(self, executor)

    def close(self, seconds: float = _CLOSING_SECONDS) -> None:
        """Send what waits to be sent, at most so long."""
        thread = Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(seconds)

    async def ask(self, chat: ChatModel, request: AskModel) -> ModelReply:
        """Ask a model."""
        endpoint = self._endpoints.roles.get(request.role)
        sampling = request.sampling
        about: dict[str, Attribute] = {
            "gen_ai.operation.name": "chat",
            **_of_endpoint(endpoint),
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.max_tokens": sampling.max_tokens,
            "ste.role": request.role,
        }
        if sampling.stop:
            about["gen_ai.request.stop_sequences"] = sampling.stop
        name = f"chat {endpoint.model}" if endpoint is not None and endpoint.model else "chat"
        with self._span(name, about, SpanKind.CLIENT) as span:
            reply = await chat.ask(request)
            span.set_attributes(_of_reply(reply))
            if reply.finish_reason in _GIVEN_UP:
                _failed(span, reply.finish_reason)
        return reply

    async def call(self, executor: ToolExecutor, request: CallTool) -> ToolResult:
        """Call a tool."""
        about = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": request.tool,
            "gen_ai.tool.type": "function",
        }
        with self._span(f"execute_tool {request.tool}", about) as span:
            result = await executor.call(request)
            span.set_attribute("ste.observation_source", result.source)
            if result.status not in _NO_ERRORS:
                _failed(span, result.status)
        return result

    @contextmanager
    def _span(
        self, name: str, about: Mapping[str, Any], kind: SpanKind = SpanKind.INTERNAL
    ) -> Iterator[Span]:
        attributes = dict(about)
        if scope := _conversation.get():
            attributes["gen_ai.conversation.id"] = scope
        # What an exception says may hold more than anybody may know; its type is told.
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False,
            set_status_on_exception=False,
        ) as span:  # fmt: skip
            try:
                yield span
            except BaseException as error:
                _failed(span, type(error).__qualname__)
                raise


class _EpisodeSpan:
    """The span of an episode, for what is known at its end."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def ended(self, episode: Episode) -> None:
        """Tell how it ended."""
        solved = sum(trial.solved == "yes" for trial in episode.trials)
        self._span.set_attributes({"ste.trials": len(episode.trials), "ste.trials_solved": solved})


class _TracedChat:
    """A chat whose requests have spans; an async context manager, as the chat is."""

    def __init__(self, spans: ExplorationSpans, chat: Any) -> None:
        self._spans = spans
        self._chat = chat
        self._opened: Any = None

    async def __aenter__(self) -> Self:
        self._opened = await self._chat.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self._chat.__aexit__(*error)

    async def ask(self, request: AskModel) -> ModelReply:
        return await self._spans.ask(self._opened, request)


class _TracedTools:
    """Calls tools, with spans."""

    def __init__(self, spans: ExplorationSpans, executor: ToolExecutor) -> None:
        self._spans = spans
        self._executor = executor

    async def call(self, request: CallTool) -> ToolResult:
        return await self._spans.call(self._executor, request)


def _of_endpoint(endpoint: RoleEndpoint | None) -> dict[str, Attribute]:
    if endpoint is None:
        return {}
    about: dict[str, Attribute] = {"gen_ai.provider.name": _PROVIDERS[endpoint.provider]}
    if endpoint.model:
        about["gen_ai.request.model"] = endpoint.model
    address = urlsplit(endpoint.base_url)
    if address.hostname:
        about["server.address"] = address.hostname
        about["server.port"] = address.port or (443 if address.scheme == "https" else 80)
    return about


def _of_reply(reply: ModelReply) -> dict[str, Attribute]:
    about: dict[str, Attribute] = {
        "gen_ai.response.finish_reasons": [reply.finish_reason],
        "gen_ai.usage.input_tokens": reply.prompt_tokens,
        "gen_ai.usage.output_tokens": reply.completion_tokens,
    }
    if reply.model:
        about["gen_ai.response.model"] = reply.model
    if reply.cached_tokens:
        about["gen_ai.usage.cache_read.input_tokens"] = reply.cached_tokens
    if reply.reasoning_tokens:
        about["gen_ai.usage.reasoning.output_tokens"] = reply.reasoning_tokens
    return about


def _failed(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))

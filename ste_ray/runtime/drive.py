"""Drives a flow: performs what it asks for, or replays what was recorded, until it returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ste_ray.core.effects import Answer, AskModel, CallTool, Flow, Request, ToolResult
from ste_ray.errors import ReplayMismatchError
from ste_ray.ports import ChatModel, EventSink, Journal, ToolExecutor
from ste_ray.runtime.journal import Recorded, answer_of
from ste_ray.runtime.shown import said, told_last

Result = TypeVar("Result")
RunFlow = Callable[[Flow[Any], str], Awaitable[Any]]  # drives a flow under its scope
NOTHING: Recorded = {}


def repeatable(_: CallTool) -> bool:
    """Say that any call may be made again when its answer was lost."""
    return True


@dataclass(frozen=True)
class Ports:
    """Everything a flow needs from outside.

    Attributes:
        model: answers ``AskModel``.
        tools: answers ``CallTool``; absent for flows that call none.
        journal: where answers are recorded.
        events: is told of every answer.
        repeatable: whether a call may be made again when its answer was lost.
    """

    model: ChatModel
    journal: Journal
    events: EventSink
    tools: ToolExecutor | None = None
    repeatable: Callable[[CallTool], bool] = repeatable


async def drive(
    flow: Flow[Result], scope: str, ports: Ports, recorded: Recorded = NOTHING
) -> Result:
    """Run ``flow`` to its end and return its result.

    Args:
        flow: a fresh generator.
        scope: identity of the flow in the journal; steps are counted within it.
        ports: what answers the flow's requests.
        recorded: what the journal of an earlier run holds of ``scope``; it is not asked again.

    Raises:
        ReplayMismatchError: a recorded answer belongs to another request.
        SteRayError: whatever the ports raise.
    """
    step = 0
    try:
        request = next(flow)
        while True:
            answer = await _answer(request, scope, step, ports, recorded.get(step))
            step += 1
            request = flow.send(answer)
    except StopIteration as stop:
        result: Result = stop.value
        return result


async def _answer(
    request: Request, scope: str, step: int, ports: Ports, entry: Mapping[str, Any] | None
) -> Answer:
    answer = answer_of(entry) if entry is not None else None
    if entry is not None and answer is not None:
        if entry["hash"] != request.request_hash:
            raise ReplayMismatchError(
                f"the answer recorded for step {step} of {scope!r} belongs to another request: "
                "prompts, tools or code changed since; use a new --run"
            )
        tell(ports.events, request, answer, scope, replayed=True)
        return answer
    if isinstance(request, CallTool) and not ports.repeatable(request):
        if entry is not None:  # it was begun
            return ToolResult(status="interrupted", text="")
        await ports.journal.intend(scope, step, request)
    answer = await _perform(request, ports)
    await ports.journal.record(scope, step, request, answer)
    tell(ports.events, request, answer, scope, replayed=False)
    return answer


async def _perform(request: Request, ports: Ports) -> Answer:
    if isinstance(request, AskModel):
        return await ports.model.ask(request)
    if ports.tools is None:
        raise ValueError(f"a flow without tools asked for {request.tool!r}")
    return await ports.tools.call(request)


def tell(events: EventSink, request: Request, answer: Answer, scope: str, replayed: bool) -> None:
    """Tell ``events`` of an answer: what it was, and what it took."""
    fields: dict[str, object] = {"scope": scope, "replayed": replayed}
    if isinstance(answer, ToolResult):
        events.emit("tool", {**fields, "status": answer.status, "text": answer.text})
        return
    assert isinstance(request, AskModel)
    events.emit(
        "model",
        {
            **fields,
            "role": request.role,
            "prompt": told_last(request.messages),
            "text": said(answer),
            "reasoning": answer.reasoning,
            "reasoned": answer.reasoned,
            "reasoning_tokens": answer.reasoning_tokens,
            "model": answer.model,
            "tokens": (answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens),
            "faults": answer.faults,
        },
    )

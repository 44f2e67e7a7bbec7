"""Answers requests one by one: the model replies, what it wants called is shown, then called.

Nothing here knows a terminal: whoever asks is given a ``Proposal``, lets a person decide where the
call may change something, and has it completed. Nothing is written into the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from ste_ray.core import layout
from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.inferring.reading import read_prediction
from ste_ray.core.inferring.settings import PromptMaterial, Query
from ste_ray.core.records import MADE_CALLS
from ste_ray.core.replies.markers import find_markers
from ste_ray.core.replies.parsing import FinalAnswer, ParseFailure, ToolCall
from ste_ray.core.texts.nearest import did_you_mean, listed
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.toolkens import unescape_toolkens
from ste_ray.runtime.clock import MonotonicClock
from ste_ray.stages.ask.exchange import Answer, Assistant, Proposal, Status
from ste_ray.stages.shared.tools import why_not_executed
from ste_ray.tools.checks.bounded import BoundedCheck
from ste_ray.tools.run.gate import Gate
from ste_ray.tools.run.toolbox import Toolbox
from ste_ray.tools.spec.safety import is_free


class Asker:
    """Answers requests with one model, which is loaded once.

    Args:
        assistant: the model.
        material: what prompts are made of; its specifications are the tools there are.
        find: makes a query of a request, with what its prompt shows.
        toolbox: makes the calls.
        allow: names of tools that may be called although they may change something.
        words_answers: whether the model puts what a tool answered into words; otherwise that is
            the answer.
    """

    def __init__(
        self,
        assistant: Assistant,
        material: PromptMaterial,
        find: Callable[[str], Query],
        toolbox: Toolbox,
        allow: Collection[str],
        words_answers: bool,
    ) -> None:
        self._assistant = assistant
        self._specs = material.specs
        self._find = find
        self._toolbox = toolbox
        self._allow = allow
        self._words_answers = words_answers
        self._checks: dict[str, BoundedCheck] = {}
        self._gates: dict[str, Gate] = {}
        self._num_calls = 0
        self._open = AsyncExitStack()

    async def open(self) -> None:
        """Open what asking and calling need, in the event loop of all that follows."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._toolbox)
            await stack.enter_async_context(self._assistant.opened())
            self._open = stack.pop_all()

    async def aclose(self) -> None:
        """Close it."""
        await self._open.aclose()

    async def propose(self, request: str) -> Proposal:
        """Ask the model, and read its reply.

        Raises:
            SteRayError: the endpoint cannot be used, or the device fails.
        """
        started = time.monotonic()
        reply = await self._assistant.reply(self._find(request))
        seconds = time.monotonic() - started

        def proposal(status: Status | None, **fields: Any) -> Proposal:
            answerer = self._assistant.answerer
            return Proposal(request, reply, status, seconds=seconds, answerer=answerer, **fields)

        if reply.prediction.error:
            return proposal("no_reply", problem=reply.prediction.error)
        text = reply.prediction.output_text
        found = read_prediction(reply.prediction, self._specs, thoughts=True)
        if isinstance(found, FinalAnswer):
            answer = unescape_toolkens(found.text)
            return proposal("no_call", thought=found.thought, answer=answer)
        if isinstance(found, ParseFailure):
            if found.kind == "no_action" and not find_markers(text):
                return proposal("no_call", answer=unescape_toolkens(text.strip()))
            status: Status = "unknown_tool" if found.kind == "unknown_tool" else "malformed"
            problem = found.message
            if status == "unknown_tool":
                problem += did_you_mean(found.tool, self._specs, most=3)
                problem += f"; tools: {listed(sorted(self._specs), f'{layout.TOOLS} of the run')}"
            return proposal(status, thought=found.thought, problem=problem)
        spec = self._specs[found.tool]
        refused, problem = await self._refusal(spec, found)
        return proposal(
            refused,
            thought=found.thought,
            call=CallTool.of(found.tool, found.arguments_json, found.arguments),
            changes=not is_free(spec),
            problem=problem,
        )

    async def complete(
        self,
        proposal: Proposal,
        consent: bool | None = None,
        observed: Callable[[ToolResult], None] | None = None,
    ) -> Answer:
        """Make the call, if it may be made, and have the model answer.

        Args:
            proposal: what the model wants.
            consent: whether a person wants the call made, where it may change something; None:
                nobody could be asked.
            observed: is given what the tool returned, where the model's words are yet to come.

        Raises:
            SteRayError: the endpoint cannot be used, or the device fails.
        """
        if proposal.status is not None or proposal.call is None:
            return _settled(proposal, proposal.status or "malformed", proposal.problem)
        if proposal.changes and not consent:
            if consent is None:
                problem = "it may change something, and nobody could be asked whether to make it"
                return _settled(proposal, "unconfirmed", f"{problem}; give --yes")
            return _settled(proposal, "declined", "you did not want it made")
        started = time.monotonic()
        result = await self._called(proposal.call)
        if result.status not in MADE_CALLS:
            return _settled(proposal, "wrong_arguments", result.text)
        if self._words_answers:
            if observed is not None:
                observed(result)
            found = await proposal.reply.conclude(result)
        else:
            found = proposal.reply.prediction.model_copy(
                update={"observation": result.text, "observation_status": result.status}
            )
        seconds = proposal.seconds + time.monotonic() - started
        status: Status = "answered" if result.status == "ok" else "tool_failed"
        if found.final_answer and not found.final_error:
            whose = proposal.answerer
            answer = Answer(proposal, status, found, "", found.final_answer, whose, seconds)
            return replace(answer, problem=answer.cut_advice)
        problem = found.final_error
        if self._words_answers and not problem:
            problem = "the model gave no final answer"
        answer = Answer(proposal, status, found, problem, result.text, "tool", seconds)
        return replace(answer, words_awaited=self._words_answers)

    async def _refusal(self, spec: ToolSpec, call: ToolCall) -> tuple[Status | None, str]:
        """Return why a call is not made; nothing speaks against it: None."""
        if not spec.lenient:
            check = self._checks.setdefault(spec.name, BoundedCheck(spec.name, spec.parameters))
            refusal = await check.refusal(call.arguments_json, call.arguments)
            if refusal is not None:
                return "wrong_arguments", refusal
        refusal = why_not_executed(spec, self._allow)
        return ("not_allowed", refusal) if refusal else (None, "")

    async def _called(self, call: CallTool) -> ToolResult:
        """Make a call, in an episode of its own and within the limits of its tool."""
        self._num_calls += 1
        gate = None
        spec = self._specs[call.tool]
        if spec.requests_per_minute or spec.concurrency:
            gate = self._gates.setdefault(spec.name, Gate(spec, MonotonicClock()))
        async with self._toolbox.episode(f"ask {self._num_calls}", gate) as tools:
            return await tools.call(call)


def _settled(proposal: Proposal, status: Status, problem: str) -> Answer:
    """Return what has become of a request for which nothing was called."""
    answer = Answer(
        proposal,
        status,
        proposal.reply.prediction,
        problem,
        proposal.answer,
        proposal.answerer if proposal.answer else "",
        proposal.seconds,
    )
    if status == "no_reply":  # that says itself why
        return answer
    return replace(answer, problem="; ".join(filter(None, (problem, answer.cut_advice))))

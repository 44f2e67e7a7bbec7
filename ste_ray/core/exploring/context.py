"""How trials are run, and what one trial needs to know besides the conversation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ste_ray.core.effects import CallTool, Flow, OfferedTool, Sampling, ToolResult
from ste_ray.core.exploring.memory import MemoryEntry
from ste_ray.core.prompts import PromptSet, offered_tool
from ste_ray.core.records import Record, Turn, fingerprint
from ste_ray.core.replies.parsing import ToolCall
from ste_ray.core.texts.cutting import cut_result
from ste_ray.core.tool_specs import ToolSpec

# The tool answered, if only with an error; "withheld" is a call of the ablation without execution.
EXECUTED = frozenset({"ok", "error", "withheld"})
NO_ANSWER = "no_answer"  # kind of failure: the reply was cut, or ended, before any answer
Protocol = Literal["text", "native"]


class TrialSettings(Record):
    """How trials are run; the four switches are the study's ablations."""

    max_turns: int = 4
    temperature: float = 1.0
    max_tokens: int = 360
    observation_chars: int = 2048
    execution_feedback: bool = True
    short_term_memory: bool = True
    long_term_memory: bool = True
    reflection: bool = True
    protocol: Protocol = "text"
    keep_reasoning: bool = False


@dataclass(frozen=True)
class TrialContext:
    """What a trial needs to know besides the conversation."""

    spec: ToolSpec
    prompts: PromptSet
    settings: TrialSettings
    episode_id: str
    episode_number: int
    trial_number: int
    memory: tuple[MemoryEntry, ...]
    memory_episodes: int = 0
    unvisited: tuple[str, ...] = ()

    @property
    def trial_id(self) -> str:
        """A hash of the episode and the number, never of model text."""
        return fingerprint("trial", self.episode_id, self.trial_number)

    @property
    def native(self) -> bool:
        """Whether the endpoint's own tool calling is used."""
        return self.settings.protocol == "native"

    @cached_property
    def offered(self) -> tuple[OfferedTool, ...]:
        """The tool, as native requests offer it."""
        return (offered_tool(self.spec),)

    def sampling(self, stop: tuple[str, ...]) -> Sampling:
        """The explorer's sampling with the given stop sequences."""
        settings = self.settings
        return Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens, stop=stop)


def executed(context: TrialContext, call: ToolCall) -> Flow[ToolResult]:
    """Make a call, or say that its result is withheld (the ablation without execution)."""
    if not context.settings.execution_feedback:
        withheld = context.prompts.render("observation_withheld")
        return ToolResult(status="withheld", text=withheld)
    account = context.spec.name
    result = yield CallTool.of(call.tool, call.arguments_json, call.arguments, account)
    assert isinstance(result, ToolResult)
    return result


def call_turn(
    context: TrialContext, call: ToolCall, result: ToolResult, head: dict[str, object]
) -> Turn:
    """Return the turn of a call that could be read.

    Args:
        context: of the trial.
        call: as it was read.
        result: what came back; status ``none`` or ``not_executed`` where it was not made.
        head: the turn's fields that tell of its reply.
    """
    return Turn(
        kind="tool_call",
        thought=call.thought,
        tool=call.tool,
        arguments_text=call.arguments_text,
        arguments_json=call.arguments_json,
        observation=cut_result(result, context.settings.observation_chars).text,
        observation_status=result.status,
        observation_source=result.source,
        observation_chars=result.num_chars,
        seconds=result.seconds,
        **head,  # type: ignore[arg-type]
    )

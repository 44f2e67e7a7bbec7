"""One trial of simulated trial and error, as a flow without I/O.

A query is imagined, answered in turns of call and observation, and reflected on. The flow yields
``AskModel`` and ``CallTool`` and is sent the answers. Source: Wang et al. 2024, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from ste_ray.core.effects import CallTool, Flow, ModelReply, Sampling, ToolResult
from ste_ray.core.exploring.conversation import Conversation
from ste_ray.core.exploring.memory import MemoryEntry, render_memory
from ste_ray.core.prompts import PromptSet, describe_tool
from ste_ray.core.records import Record, Trial, Turn, fingerprint
from ste_ray.core.replies.conversation import advice_on, explained, failure_of
from ste_ray.core.replies.parsing import (
    FinalAnswer,
    ParseFailure,
    parse_action,
)
from ste_ray.core.replies.parsing import ToolCall as ParsedCall
from ste_ray.core.replies.queries import clean_query
from ste_ray.core.replies.stop_texts import OBSERVATION_STOP, THOUGHT_STOP, cut_at_stop
from ste_ray.core.replies.verdicts import parse_yes_no
from ste_ray.core.texts.cutting import cut_result
from ste_ray.core.tool_specs import ToolSpec

QUERY_STOP = THOUGHT_STOP
ANSWER_STOP = OBSERVATION_STOP
NO_ANSWER = "no_answer"  # kind of failure: the reply was cut, or ended, before any answer


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

    @property
    def trial_id(self) -> str:
        """A hash of the episode and the number, never of model text."""
        return fingerprint("trial", self.episode_id, self.trial_number)

    def sampling(self, stop: tuple[str, ...]) -> Sampling:
        """The explorer's sampling with the given stop sequences."""
        settings = self.settings
        return Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens, stop=stop)


def trial_flow(context: TrialContext, talk: Conversation) -> Flow[Trial]:
    """Run one trial in the conversation ``talk`` and return its record."""
    before, num_faults = _counted(talk), len(talk.faults)
    query_reply = yield from _imagine_query(context, talk)
    query = clean_query(cut_at_stop(query_reply.text, QUERY_STOP))
    turns: list[Turn] = []
    outcome, detail = _query_outcome(context, talk, query, query_reply)
    if outcome == "finished":
        talk.say(_answer_prompt(context))
        outcome, detail = yield from _answer_query(context, talk, turns)
    solved, reflection = "not_asked", ModelReply(text="")
    if context.settings.reflection and outcome in ("finished", "out_of_turns"):
        talk.say(context.prompts.render("explore_reflect"))
        reflection = yield from talk.ask(context.sampling(()))
        solved = parse_yes_no(reflection.text)
        if talk.cut_off:
            detail = f"the reflection was cut off: {talk.cut_off}"
        elif advice_on(reflection, "explorer"):
            why = explained(reflection, context.settings.max_tokens, "explorer")
            detail = "; ".join(filter(None, (detail, f"the reflection holds no verdict: {why}")))
    return Trial.model_validate(
        {
            "trial_id": context.trial_id,
            "episode_id": context.episode_id,
            "tool": context.spec.name,
            "episode_number": context.episode_number,
            "trial_number": context.trial_number,
            "query": query,
            "query_text": query_reply.text,
            "memory_shown": len(context.memory) if context.settings.long_term_memory else 0,
            "memory_episodes": context.memory_episodes if context.settings.long_term_memory else 0,
            "turns": tuple(turns),
            "final_answer": turns[-1].final_answer if turns else "",
            "outcome": outcome,
            "outcome_detail": detail,
            "solved": solved,
            "reflection_text": reflection.text,
            "query_reasoning": query_reply.reasoning,
            "reflection_reasoning": reflection.reasoning,
            "faults": tuple(talk.faults[num_faults:]),
            **{name: count - before[name] for name, count in _counted(talk).items()},
        }
    )


def _counted(talk: Conversation) -> dict[str, int]:
    """Return what has been used so far, under the names of the trial's fields."""
    return {
        "prompt_tokens": talk.prompt_tokens,
        "completion_tokens": talk.completion_tokens,
        "replies": talk.replies,
        "replies_reasoned": talk.replies_reasoned,
        "reasoning_tokens": talk.reasoning_tokens,
    }


def _imagine_query(context: TrialContext, talk: Conversation) -> Flow[ModelReply]:
    if not context.settings.short_term_memory:
        talk.start = len(talk.messages)
    first = len(talk.messages) == talk.start
    name = "explore_query_first" if first else "explore_query_next"
    values = {"tools": describe_tool(context.spec)} if first else {}
    entries = context.memory if context.settings.long_term_memory else ()
    memory = render_memory(entries, context.prompts)
    talk.say(context.prompts.render(name, long_term_memory="", **values))
    shown = context.prompts.render(name, long_term_memory=memory, **values)
    return (yield from talk.ask(context.sampling(QUERY_STOP), shown=shown))


def _query_outcome(
    context: TrialContext, talk: Conversation, query: str, reply: ModelReply
) -> tuple[str, str]:
    if talk.cut_off:
        return "cut_off", talk.cut_off
    if query:
        return "finished", ""
    why = explained(reply, context.settings.max_tokens, "explorer")
    return "no_query", why or "the reply held no query"


def _answer_prompt(context: TrialContext) -> str:
    return context.prompts.render(
        "explore_answer",
        tool_names=context.spec.name,
        max_turns=str(context.settings.max_turns),
    )


def _answer_query(
    context: TrialContext, talk: Conversation, turns: list[Turn]
) -> Flow[tuple[str, str]]:
    """Append turns until a final answer; return the outcome and its detail."""
    limit = context.settings.max_turns
    while True:
        reply = yield from talk.ask(context.sampling(ANSWER_STOP))
        last = len(turns) == limit  # all observations are spent; only a final answer counts
        turn = yield from _take_turn(context, talk, reply, last)
        turns.append(turn)
        if turn.kind == "final_answer":
            return "finished", ""
        if turn.kind == "cut_off":
            return "cut_off", turn.failure_kind
        if turn.observation_status == "interrupted":
            return "interrupted", "a call with side effects was begun but its answer was lost"
        if last:
            return "out_of_turns", _out_of_turns(limit, turns)
        talk.say(f"Observation: {turn.observation}")


def _take_turn(
    context: TrialContext, talk: Conversation, reply: ModelReply, last: bool
) -> Flow[Turn]:
    head: dict[str, object] = {
        "reply_index": len(talk.messages) - 1,
        "reply_text": reply.text,
        "reasoning": reply.reasoning,
    }
    if talk.cut_off:
        return Turn(kind="cut_off", failure_kind=talk.cut_off, **head)  # type: ignore[arg-type]
    parsed = parse_action(cut_at_stop(reply.text, ANSWER_STOP), (context.spec.name,))
    if isinstance(parsed, FinalAnswer):
        fields = {"thought": parsed.thought, "final_answer": parsed.text}
        return Turn(kind="final_answer", **head, **fields)  # type: ignore[arg-type]
    if isinstance(parsed, ParseFailure):
        return _failed_turn(context, reply, parsed, head, last)
    result = ToolResult(status="none", text="")
    if not last:
        result = yield from _execute(context, parsed)
    return Turn(
        kind="tool_call",
        thought=parsed.thought,
        tool=parsed.tool,
        arguments_text=parsed.arguments_text,
        arguments_json=parsed.arguments_json,
        observation=cut_result(result, context.settings.observation_chars).text,
        observation_status=result.status,
        observation_source=result.source,
        observation_chars=result.num_chars,
        seconds=result.seconds,
        **head,  # type: ignore[arg-type]
    )


def _out_of_turns(limit: int, turns: list[Turn]) -> str:
    detail = f"no final answer after {limit} observations"
    if all(turn.failure_kind == NO_ANSWER for turn in turns):
        return f"{detail}; {turns[-1].failure_message}"
    return detail


def _failed_turn(
    context: TrialContext,
    reply: ModelReply,
    failure: ParseFailure,
    head: dict[str, object],
    last: bool,
) -> Turn:
    kind: str = failure.kind
    message = told = failure.message
    if advice_on(reply, "explorer"):
        max_tokens = context.settings.max_tokens
        kind, told = NO_ANSWER, failure_of(reply, max_tokens)  # the advice is not for the model
        message = explained(reply, max_tokens, "explorer")
    text = context.prompts.render("observation_parse_failure", message=told)
    return Turn(
        kind="parse_failure",
        thought=failure.thought,
        failure_kind=kind,
        failure_message=message,
        observation="" if last else text,
        observation_status="none" if last else "unparsed",
        observation_chars=0 if last else len(text),
        **head,  # type: ignore[arg-type]
    )


def _execute(context: TrialContext, call: ParsedCall) -> Flow[ToolResult]:
    if not context.settings.execution_feedback:
        withheld = context.prompts.render("observation_withheld")
        return ToolResult(status="withheld", text=withheld)
    account = context.spec.name
    result = yield CallTool.of(call.tool, call.arguments_json, call.arguments, account)
    assert isinstance(result, ToolResult)
    return result

"""One trial of simulated trial and error, as a flow without I/O.

A query is imagined, answered in turns of call and observation, and reflected on. The flow yields
``AskModel`` and ``CallTool`` and is sent the answers. Source: Wang et al. 2024, section 3.1.
"""

from __future__ import annotations

from ste_ray.core.effects import Flow, ModelReply
from ste_ray.core.exploring import native_turns, text_turns
from ste_ray.core.exploring.context import EXECUTED, NO_ANSWER, TrialContext
from ste_ray.core.exploring.conversation import Conversation
from ste_ray.core.exploring.memory import render_memory, render_unvisited
from ste_ray.core.prompts import describe_tool
from ste_ray.core.records import Trial, Turn
from ste_ray.core.replies.conversation import advice_on, explained
from ste_ray.core.replies.queries import clean_query
from ste_ray.core.replies.stop_texts import THOUGHT_STOP, cut_at_stop
from ste_ray.core.replies.verdicts import parse_yes_no

QUERY_STOP = THOUGHT_STOP


def trial_flow(context: TrialContext, talk: Conversation) -> Flow[Trial]:
    """Run one trial in the conversation ``talk`` and return its record."""
    before, num_faults, num_oddities = _counted(talk), len(talk.faults), len(talk.oddities)
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
        reflection = yield from _ask_for_text(context, talk, ())
        solved = parse_yes_no(reflection.text)
        if solved == "yes" and (why := _unfounded(outcome, turns)):
            solved = "no"
            detail = "; ".join(filter(None, (detail, f"the reflection says yes, but {why}")))
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
            "unvisited_shown": context.unvisited,
            "turns": tuple(turns),
            "final_answer": turns[-1].final_answer if turns else "",
            "outcome": outcome,
            "outcome_detail": detail,
            "solved": solved,
            "reflection_text": reflection.text,
            "query_reasoning": query_reply.reasoning,
            "reflection_reasoning": reflection.reasoning,
            "faults": tuple(talk.faults[num_faults:]),
            "oddities": tuple(talk.oddities[num_oddities:]),
            **{name: count - before[name] for name, count in _counted(talk).items()},
        }
    )


def _unfounded(outcome: str, turns: list[Turn]) -> str:
    """Return why a reflection's yes does not count; empty: it does.

    The study takes the explorer's word. One that called nothing has seen nothing that it could
    answer by, and models say yes all the same.
    """
    if outcome != "finished":
        return "there is no final answer"
    answered = any(turn.observation_status in EXECUTED for turn in turns)
    return "" if answered else "no call was answered"


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
    memory += render_unvisited(context.unvisited, context.prompts)
    talk.say(context.prompts.render(name, long_term_memory="", **values))
    shown = context.prompts.render(name, long_term_memory=memory, **values)
    return (yield from _ask_for_text(context, talk, QUERY_STOP, shown))


def _ask_for_text(
    context: TrialContext, talk: Conversation, stop: tuple[str, ...], shown: str | None = None
) -> Flow[ModelReply]:
    """Ask for a reply that calls nothing; see ``Conversation.ask``.

    Some endpoints refuse a conversation that holds calls where the tools are not told with it.
    """
    tools = context.offered if talk.shows_calls else ()
    return (yield from talk.ask(context.sampling(stop), shown, tools, "none"))


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
    max_turns = str(context.settings.max_turns)
    if context.native:
        return context.prompts.render("explore_answer_native", max_turns=max_turns)
    return context.prompts.render(
        "explore_answer", tool_names=context.spec.name, max_turns=max_turns
    )


def _answer_query(
    context: TrialContext, talk: Conversation, turns: list[Turn]
) -> Flow[tuple[str, str]]:
    """Append turns until a final answer; return the outcome and its detail."""
    limit = context.settings.max_turns
    take_reply = native_turns.take_reply if context.native else text_turns.take_reply
    while True:
        left = max(0, limit - len(turns))  # with none, only a final answer counts
        turns += yield from take_reply(context, talk, left)
        turn = turns[-1]
        if turn.kind == "final_answer":
            return "finished", ""
        if turn.kind == "cut_off":
            return "cut_off", turn.failure_kind
        if turn.observation_status == "interrupted":
            return "interrupted", "a call with side effects was begun but its answer was lost"
        if not left:
            return "out_of_turns", _out_of_turns(limit, turns)


def _out_of_turns(limit: int, turns: list[Turn]) -> str:
    detail = f"no final answer after {limit} observations"
    if all(turn.failure_kind == NO_ANSWER for turn in turns):
        return f"{detail}; {turns[-1].failure_message}"
    return detail

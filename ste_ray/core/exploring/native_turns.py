"""Turns in the native protocol: each call of a reply is one, a reply without calls the answer.

All calls of a reply are made in their order, and each is answered by a message of the role ``tool``
with its id, also one that cannot be made: endpoints refuse a conversation in which one is not. What
a reply says beside its calls is the thought. A text is no final answer where it was cut, where it
seems to hold a call, or where the endpoint says that there were calls.
"""

from __future__ import annotations

from ste_ray.core.effects import Flow, ModelReply, ToolResult
from ste_ray.core.exploring.context import NO_ANSWER, TrialContext, call_turn, executed
from ste_ray.core.exploring.conversation import Conversation
from ste_ray.core.records import MessageCall, Turn
from ste_ray.core.replies.conversation import advice_on, explained, failure_of
from ste_ray.core.replies.native import read_call
from ste_ray.core.replies.parsing import ParseFailure

# Kinds of failure: the text seems to hold a call; the endpoint says that there was one.
CALL_IN_TEXT = "call_in_text"
LOST_CALL = "lost_call"
_LOST = (
    "the endpoint says that it holds a call, but none came; make the call again",
    "the call stands in its text; use the interface for tool calls",
)


def take_reply(context: TrialContext, talk: Conversation, left: int) -> Flow[list[Turn]]:
    """Ask for the next reply and do what it says; return its turns.

    Args:
        context: of the trial.
        talk: where the reply and what comes back are added.
        left: how many observations the trial may still see; further calls are not made.
    """
    reply = yield from talk.ask(context.sampling(()), tools=context.offered)
    head: dict[str, object] = {
        "reply_index": len(talk.messages) - 1,
        "reply_text": reply.text,
        "reasoning": reply.reasoning,
    }
    if talk.cut_off:
        return [Turn(kind="cut_off", failure_kind=talk.cut_off, **head)]  # type: ignore[arg-type]
    calls = talk.messages[-1].tool_calls
    if not calls:
        return [_text_turn(context, talk, reply, head, last=left == 0)]
    turns: list[Turn] = []
    for number, call in enumerate(calls):
        cut = reply.finish_reason == "length" and number == len(calls) - 1
        thought = "" if number else reply.text.strip()
        turn = yield from _call_turn(context, call, thought, head, left - number > 0, cut)
        turns.append(turn)
        if turn.observation_status == "interrupted":
            break
        talk.answer(call.id, turn.observation)
        head = {"reply_index": head["reply_index"], "reply_text": ""}
    return turns


def _call_turn(
    context: TrialContext,
    call: MessageCall,
    thought: str,
    head: dict[str, object],
    may_be_made: bool,
    cut: bool,
) -> Flow[Turn]:
    head = {**head, "call_id": call.id}
    parsed = read_call(call, (context.spec.name,), thought)
    if cut:
        message = f"the reply was cut at {context.settings.max_tokens} tokens, within this call"
        parsed = ParseFailure("cut_call", message, thought, call.name)
    if isinstance(parsed, ParseFailure):
        return _failed_call(context, call, parsed, head, may_be_made)
    if may_be_made:
        result = yield from executed(context, parsed)
    else:
        result = ToolResult(status="not_executed", text=_not_executed(context))
    return call_turn(context, parsed, result, head)


def _failed_call(
    context: TrialContext,
    call: MessageCall,
    failure: ParseFailure,
    head: dict[str, object],
    may_be_made: bool,
) -> Turn:
    text = context.prompts.render("observation_call_failure_native", message=failure.message)
    text = text if may_be_made else _not_executed(context)
    return Turn(
        kind="parse_failure",
        thought=failure.thought,
        tool=call.name,
        arguments_text=call.arguments_text,
        failure_kind=failure.kind,
        failure_message=failure.message,
        observation=text,
        observation_status="unparsed" if may_be_made else "not_executed",
        observation_chars=len(text),
        **head,  # type: ignore[arg-type]
    )


def _not_executed(context: TrialContext) -> str:
    limit = str(context.settings.max_turns)
    return context.prompts.render("observation_not_executed_native", max_turns=limit)


def _text_turn(
    context: TrialContext,
    talk: Conversation,
    reply: ModelReply,
    head: dict[str, object],
    last: bool,
) -> Turn:
    """Read a reply without calls: the final answer, or nothing that can be used."""
    failure = _text_failure(context, reply)
    if failure is None:
        answer = reply.text.strip()
        return Turn(kind="final_answer", final_answer=answer, **head)  # type: ignore[arg-type]
    kind, told, message = failure
    text = context.prompts.render("observation_parse_failure_native", message=told)
    if not last:
        talk.say(text)
    return Turn(
        kind="parse_failure",
        thought=reply.text.strip(),
        failure_kind=kind,
        failure_message=message,
        observation="" if last else text,
        observation_status="none" if last else "unparsed",
        observation_chars=0 if last else len(text),
        **head,  # type: ignore[arg-type]
    )


def _text_failure(context: TrialContext, reply: ModelReply) -> tuple[str, str, str] | None:
    """Return why a text is no final answer: the kind, what the model is told, and the records."""
    max_tokens = context.settings.max_tokens
    odd = {oddity.kind for oddity in reply.oddities}
    if advice_on(reply, "explorer"):
        told = failure_of(reply, max_tokens)  # the advice is not for the model
        return NO_ANSWER, told, explained(reply, max_tokens, "explorer")
    if "finish_without_calls" in odd:
        return LOST_CALL, _LOST[0], _LOST[0]
    if "call_in_text" in odd:
        return CALL_IN_TEXT, _LOST[1], _LOST[1]
    if not reply.text.strip():
        message = "it holds neither a call nor an answer"
        return "empty", message, message
    if reply.finish_reason == "length":
        # Without a marker nobody can tell an answer that was cut from a thought before a call.
        message = failure_of(reply, max_tokens)
        return "cut_answer", message, message
    return None

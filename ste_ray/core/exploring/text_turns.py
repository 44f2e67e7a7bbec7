"""A turn in the text protocol: a reply in the format Thought / Action / Action Input.

The call, or the final answer, stands in the text; what comes back is told as an Observation in the
next message. Source: Wang et al. 2024, section 3.1.
"""

from __future__ import annotations

from ste_ray.core.effects import Flow, ModelReply, ToolResult
from ste_ray.core.exploring.context import NO_ANSWER, TrialContext, call_turn, executed
from ste_ray.core.exploring.conversation import Conversation
from ste_ray.core.records import Turn
from ste_ray.core.replies.conversation import advice_on, explained, failure_of
from ste_ray.core.replies.parsing import FinalAnswer, ParseFailure, parse_action
from ste_ray.core.replies.stop_texts import OBSERVATION_STOP, cut_at_stop

ANSWER_STOP = OBSERVATION_STOP


def take_reply(context: TrialContext, talk: Conversation, left: int) -> Flow[list[Turn]]:
    """Ask for the next reply and do what it says; return its turn.

    Args:
        context: of the trial.
        talk: where the reply is added and, as the next message, the observation.
        left: how many observations the trial may still see; with none, only a final answer counts.
    """
    reply = yield from talk.ask(context.sampling(ANSWER_STOP))
    turn = yield from _take_turn(context, talk, reply, last=left == 0)
    if turn.observation_status not in ("none", "interrupted"):
        talk.say(f"Observation: {turn.observation}")
    return [turn]


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
        result = yield from executed(context, parsed)
    return call_turn(context, parsed, result, head)


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

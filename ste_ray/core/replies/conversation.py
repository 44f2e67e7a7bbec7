"""Replies of a model: as messages of a conversation, and what became of failed ones."""

from __future__ import annotations

from ste_ray.core.effects import ModelReply, Role
from ste_ray.core.records import Message, MessageCall

EMPTY_REPLY = "(no reply)"
EMPTY_RESULT = "(nothing)"
# What bounds the tokens of a reply. Fields of ``sampling`` stand in for limits that flows have.
LIMIT_SETTINGS: dict[Role, str] = {
    "explorer": "explore.max_tokens",
    "judge": "llm.judge.sampling.max_tokens",
    "paraphraser": "llm.paraphraser.sampling.max_tokens",
    "assistant": "infer.max_new_tokens",
    "scorer": "llm.scorer.sampling.max_tokens",
    "tool_simulator": "llm.tool_simulator.sampling.max_tokens",
}


def assistant_message(
    text: str, calls: tuple[MessageCall, ...] = (), reasoning: str = ""
) -> Message:
    """Return what a model said as the assistant's message.

    Strict endpoints refuse a conversation with an empty message, or one of white space only, unless
    it has calls.

    Args:
        text: of the reply.
        calls: native ones, with ids that differ.
        reasoning: where the model is to get it back.
    """
    said = text if text.strip() else "" if calls else EMPTY_REPLY
    return Message(role="assistant", content=said, tool_calls=calls, reasoning=reasoning)


def result_message(call_id: str, content: str) -> Message:
    """Return what a native call brought, as the tool's message."""
    shown = content if content.strip() else EMPTY_RESULT
    return Message(role="tool", content=shown, tool_call_id=call_id)


def failure_of(reply: ModelReply, max_tokens: int) -> str:
    """Return why a reply did not come to its own end, or holds no answer; empty: neither.

    Args:
        reply: of the model.
        max_tokens: the most tokens that were asked for.
    """
    if reply.finish_reason == "length":
        # The endpoint's own field of the body may have allowed another number.
        cut = f"the reply was cut at {max(max_tokens, reply.completion_tokens)} tokens"
        if reply.text.strip() or reply.calls:
            return cut
        return f"{cut} {'within its reasoning, ' if reply.reasoned else ''}before any answer"
    if reply.finish_reason == "stop":
        return "the reply ended within its reasoning, before any answer" if no_answer(reply) else ""
    return {
        "content_filter": "the reply was withheld by a content filter",
        "context_overflow": "the request was too long for the model",
        "refused": "the endpoint refused this request while it served others",
        "failed": "the endpoint did not answer",
    }[reply.finish_reason]


def advice_on(reply: ModelReply, role: Role) -> str:
    """Return what to do about a reply that was cut, or ended, before any answer; empty: nothing."""
    if reply.finish_reason == "length" and not reply.text.strip() and not reply.calls:
        more = " (models that reason need thousands)" if reply.reasoned else ""
        return f"raise {LIMIT_SETTINGS[role]}{more}"
    if no_answer(reply):
        return (
            "see that the endpoint does not look for stop sequences in the reasoning, or turn the "
            f"reasoning off in llm.{role}.sampling"
        )
    return ""


def explained(reply: ModelReply, max_tokens: int, role: Role) -> str:
    """Return ``failure_of`` with ``advice_on``, for those who read records."""
    return "; ".join(filter(None, (failure_of(reply, max_tokens), advice_on(reply, role))))


def no_answer(reply: ModelReply) -> bool:
    """Whether a reply that was not cut from outside holds reasoning and no answer, nor a call."""
    ended = reply.finish_reason in ("stop", "length")
    return ended and reply.reasoned and not (reply.text.strip() or reply.calls)

"""What the reply of a prediction holds, text or native: a call, an answer or a failure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ste_ray.core.records import Prediction
from ste_ray.core.replies.native import distinct, read_call
from ste_ray.core.replies.parsing import (
    FailureKind,
    FinalAnswer,
    ParseFailure,
    ToolCall,
    parse_action,
)

_LOST: dict[str, tuple[FailureKind, str]] = {
    "finish_without_calls": ("lost_call", "the endpoint says that there is a call, but none came"),
    "call_in_text": ("call_in_text", "the call stands in the text, not where calls belong"),
    "cut_call": ("cut_call", "the reply was cut within the call"),
    "unreadable_call": ("unreadable_call", "the call is not in the form of the chat template"),
}
_SPOILS_CALLS = ("cut_call", "unreadable_call")


def read_prediction(
    prediction: Prediction,
    allowed: Collection[str],
    *,
    suggest: bool = False,
    thoughts: bool = False,
) -> FinalAnswer | ToolCall | ParseFailure:
    """Read the reply of a prediction; see ``parse_action``, also for the arguments.

    Of a native one, the text beside the call is the thought, and without calls the answer. As in
    the text form, more than one call is a failure; the same one again is none more.
    """
    if not prediction.native:
        return parse_action(prediction.output_text, allowed, suggest=suggest, thoughts=thoughts)
    text, calls = prediction.output_text.strip(), prediction.calls
    # Not those of the reply with the final answer, where the call was executed.
    odd: dict[str, str] = {
        one.kind: one.detail for one in prediction.oddities if one.reply_index <= 0
    }
    if not calls:
        return _read_text(text, odd)
    thought = text if thoughts else ""
    if (number := len(distinct(calls))) > 1:
        message = f"it holds {number} calls; make one call a reply and wait for its result"
        return ParseFailure("several_calls", message, thought, calls[0].name)
    for kind in _SPOILS_CALLS:
        if kind in odd:
            failure, message = _told(kind, odd)
            return ParseFailure(failure, message, thought, calls[0].name)
    return read_call(calls[0], allowed, thought, suggest=suggest)


def _read_text(text: str, odd: Mapping[str, str]) -> FinalAnswer | ParseFailure:
    for kind in _LOST:
        if kind in odd:
            return ParseFailure(*_told(kind, odd))
    return FinalAnswer("", text) if text else ParseFailure("empty", "it is empty")


def _told(kind: str, odd: Mapping[str, str]) -> tuple[FailureKind, str]:
    failure, message = _LOST[kind]
    detail = odd[kind] if kind == "unreadable_call" else ""
    return failure, ": ".join(filter(None, (message, detail)))


def as_text(prediction: Prediction) -> str:
    """Return the reply of a prediction in the text form, for people and for the study's rules."""
    if not prediction.native:
        return prediction.output_text
    text = prediction.output_text.strip()
    if not prediction.calls:
        return f"Final Answer: {text}" if text else ""
    calls = [
        f"Action: {one.name}\nAction Input: {one.arguments_text}"
        for one in distinct(prediction.calls)
    ]
    return "\n".join([*([f"Thought: {text}"] if text else []), *calls])

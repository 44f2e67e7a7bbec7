"""What was wrong or unusual with a reply of a model."""

from __future__ import annotations

from typing import Literal

from ste_ray.core.records.base import Record


class Fault(Record):
    """Something that went wrong with a reply of a model, also where a repetition mended it."""

    kind: Literal[
        "rate_limited",  # 429
        "server_error",  # 5xx and other statuses that may pass
        "timeout",  # no reply in time
        "connection",  # refused, reset or cut off
        "bad_reply",  # 200 without a usable completion
        "length",  # the reply was cut at max_tokens
        "content_filter",
        "context_overflow",
        "refused",  # for what the request holds, without a word that names what
        "failed",  # given up after all attempts
    ]
    detail: str = ""
    reply_index: int = -1  # the reply it concerns, in the episode's messages; -1: not placed yet


OddityKind = Literal[
    "arguments_object",  # an object in the place of a JSON text
    "arguments_empty",  # no arguments at all, read as {}
    "id_missing",  # a call without an id, or with one that is no text: it got one of ours
    "id_repeated",  # the id of an earlier call of the conversation: it got one of ours
    "name_missing",
    "call_shape",  # calls in another shape than OpenAI's; what is no call at all has no name
    "function_call",  # the field of before there was tool_calls
    "finish_without_calls",  # finish_reason says there are calls, and there are none
    "calls_without_finish",  # there are calls, and finish_reason says the reply just ended
    "cut_call",  # the reply was cut, so that its last call may not be whole
    "call_repeated",  # the same call again, with the same arguments
    "uncalled_for",  # calls although tool_choice asked for none
    "not_called",  # no call although tool_choice required one
    "call_in_text",  # what seems to be a call, written into the text
    "unreadable_call",  # of a local model, begun in the form of its template and broken
]


class Oddity(Record):
    """Something unusual about the calls of a reply, and about how the endpoint told them."""

    kind: OddityKind
    detail: str = ""
    # The reply it concerns, in the episode's messages, or among the replies of a prediction (0, 1);
    # -1: not placed yet.
    reply_index: int = -1

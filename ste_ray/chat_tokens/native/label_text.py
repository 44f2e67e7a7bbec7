"""What a model writes of a rendered conversation behind its prompt, proven by reading it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ste_ray.chat_tokens.call_forms.differences import shared_start
from ste_ray.chat_tokens.native.messages import Conversation
from ste_ray.core.native_calls.form import CallForm
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.replies.reasoning import opens_reasoning, separate
from ste_ray.core.replies.strict_json import JSONTextError, clip, decode_value
from ste_ray.errors import ToolTemplateError

_MAX_ENDS = 200


def response(
    spoken: Conversation, render: Callable[[Conversation, bool], str], form: CallForm
) -> tuple[str, str]:
    """Return the prompt of a conversation's last message, and what the model writes behind it.

    The prompt is that of inference, also where the template writes something else there once the
    message is known, such as an empty block of reasoning.

    Raises:
        ToolTemplateError: the message cannot be told from what is around it.
    """
    last = len(spoken.messages) - 1
    before, whole = render(spoken.up_to(last), True), render(spoken, False)
    written = _behind(before, whole)
    schemas = _schemas(spoken)
    for end in _ends(written, form):
        if _is(spoken.messages[last], written[:end], form, schemas):
            return before, written[:end]
    raise ToolTemplateError(
        f"the last message of a dialog is not read back from what the chat template writes for it,"
        f" {clip(written, 120)}: its labels cannot be told"
    )


def _behind(prompt: str, whole: str) -> str:
    """Return what a model would write behind a prompt, of a rendering with its message."""
    shared = shared_start(whole, prompt)
    rest, written = prompt[len(shared) :], whole[len(shared) :]
    if not rest.strip():
        return written
    _, found, behind = written.partition(rest.strip())
    if found:  # white space or the end of a turn, which the prompt lacks, stands before it
        return behind
    if opens_reasoning(prompt):
        raise ToolTemplateError(
            f"a prompt ends in {clip(rest)}, which opens reasoning that messages without any do not"
            " close; set the template's option that turns reasoning off, such as"
            " enable_thinking=false"
        )
    return separate(written).content


def _schemas(spoken: Conversation) -> dict[str, Any]:
    return {one["function"]["name"]: one["function"].get("parameters") for one in spoken.tools}


def _ends(written: str, form: CallForm) -> Iterator[int]:
    """Yield where a message may end, the likeliest first."""
    yield len(written.rstrip())
    mark = form.end_mark
    place = 0
    for _ in range(_MAX_ENDS):
        place = written.find(mark, place) if mark else -1
        if place < 0:
            return
        place += len(mark)
        yield place


def _is(message: Mapping[str, Any], text: str, form: CallForm, schemas: Mapping[str, Any]) -> bool:
    """Whether a text is read as this message."""
    said = "".join(str(message.get("content") or "").split())
    if "tool_calls" not in message:
        return said in "".join(text.split())
    reply = read_reply(text, form, schemas)
    wanted = [
        (one["function"]["name"], _value(one["function"]["arguments"]))
        for one in message["tool_calls"]
    ]
    got = [(one.name, _value(one.arguments_text)) for one in reply.calls]
    if reply.problem or got != wanted:
        return False
    beside = "".join(f"{reply.content}{reply.after}".split())
    if not form.keeps_text:
        return beside in ("", said)
    return beside == said or (not beside and said == "".join(reply.reasoning.split()))


def _value(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return json.loads(json.dumps(arguments))
    try:
        return decode_value(arguments)[0]
    except JSONTextError:
        return arguments

"""Where the assistant's messages stand in a rendered conversation, proven by reading them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from transformers.utils.chat_template_utils import render_jinja_template

from ste_ray.chat_tokens.call_forms.differences import shared_start
from ste_ray.chat_tokens.native.messages import Conversation
from ste_ray.core.native_calls.form import CallForm
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.replies.reasoning import opens_reasoning, separate
from ste_ray.core.replies.strict_json import JSONTextError, clip, decode_value
from ste_ray.errors import ToolTemplateError

_MAX_ENDS = 200


class Span(NamedTuple):
    """A part of a rendered conversation."""

    start: int
    end: int


def generation_spans(
    tokenizer: Any, template: str, spoken: Conversation, whole: str, form: CallForm
) -> list[Span]:
    """Return what a template marks as generated; none: the parts are not its messages.

    Args:
        tokenizer: whose special tokens the template writes.
        template: with ``{% generation %}``.
        spoken: the conversation.
        whole: the same, rendered.
        form: by which each part is read back.
    """
    special = {
        name: text for name, text in tokenizer.special_tokens_map.items() if isinstance(text, str)
    }
    (text,), (indices,) = render_jinja_template(
        [list(spoken.messages)],
        tools=list(spoken.tools) or None,
        chat_template=template,
        return_assistant_tokens_mask=True,
        **special,
    )
    messages = [one for one in spoken.messages if one["role"] == "assistant"]
    if text != whole or len(indices) != len(messages):
        return []
    schemas = _schemas(spoken)
    parts = (whole[start:end] for start, end in indices)
    if not all(_is(*pair, form, schemas) for pair in zip(messages, parts, strict=True)):
        return []
    return [Span(start, end) for start, end in indices]


def message_spans(
    spoken: Conversation,
    whole: str,
    render: Callable[[Conversation, bool], str],
    form: CallForm,
) -> list[Span]:
    """Return what each message of the assistant adds to a rendering, with what ends it.

    Raises:
        ToolTemplateError: a message cannot be told from what is around it.
    """
    found = []
    schemas = _schemas(spoken)
    for number, message in enumerate(spoken.messages):
        if message["role"] != "assistant":
            continue
        before = render(spoken.up_to(number), True)
        if not whole.startswith(before):
            raise ToolTemplateError(
                f"message {number + 1} of a dialog does not stand behind its prompt: the chat"
                " template changes earlier messages, so their labels cannot be told"
            )
        upto = render(spoken.up_to(number + 1), False)
        for end in _ends(whole, len(before), upto, form):
            if _is(message, whole[len(before) : end], form, schemas):
                found.append(Span(len(before), end))
                break
        else:
            written = clip(whole[len(before) :], 120)
            raise ToolTemplateError(
                f"message {number + 1} of a dialog is not read back from what the chat template"
                f" writes for it, {written}: its labels cannot be told"
            )
    return found


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
    for end in _ends(written, 0, written, form):
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


def _ends(whole: str, start: int, upto: str, form: CallForm) -> Iterator[int]:
    """Yield where a message may end, the likeliest first."""
    shared = len(upto) if whole.startswith(upto) else 0
    if shared > start:
        yield start + len(whole[start:shared].rstrip())
    mark = form.end_mark
    place = start
    for _ in range(_MAX_ENDS):
        place = whole.find(mark, place) if mark else -1
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

"""Training rows as native dialogs: calls and results are told as such, not in the text form.

Prepare writes rows in one form, the text form of ``formatting``, which says all that there is to
say. A training in the native form reads it back, so that one run can be trained in either.
"""

from __future__ import annotations

from collections.abc import Sequence

from ste_ray.core.preparing.formatting import call_text, native_failed_turns
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import FailedCall, Message, MessageCall, TrainRow, canonical_json
from ste_ray.core.replies.conversation import assistant_message, result_message
from ste_ray.core.replies.strict_json import JSONTextError, decode_value
from ste_ray.core.toolkens import toolken, unescape_toolkens

# Nine letters and digits, which every template takes; always the same, where a model must write it.
CALL_ID = "call00001"
_RESULT, _ANSWER = "Observation: ", "Final Answer: "


def native_row(row: TrainRow, prompts: PromptSet) -> tuple[Message, ...]:
    """Return a row as a dialog with tools, whose last message is what is to be learned.

    It begins with the system message of native prompts.

    Args:
        row: of a tool, or one that needs no call.
        prompts: which system message that is.

    Raises:
        ValueError: the row is not in the form that prepare writes.
    """
    system, *turns = row.dialog_history
    if system.role != "system":
        raise ValueError("it does not begin with a system message")
    opening = prompts.system_message("act_system_native")
    if row.kind == "no_call":
        return (opening, *map(_plain, turns), _said(row.response.removeprefix(_ANSWER)))
    request = _plain(turns[0])
    pairs = list(zip(turns[1::2], turns[2::2], strict=False))
    answers = row.kind in ("final_answer", "mended_answer")
    if len(turns) != 1 + 2 * len(pairs) or (answers and not pairs):
        raise ValueError(f"it has {len(turns)} messages before what is learned, which do not pair")
    failed = pairs[:-1] if answers else pairs
    dialog = (opening, request, *_failed(row.tool, failed))
    if not answers:
        return (*dialog, _call(row.tool, row.response))
    call, result = pairs[-1]
    return (
        *dialog,
        _call(row.tool, call.content),
        result_message(CALL_ID, _returned(result)),
        _said(row.response.removeprefix(_ANSWER)),
    )


def _failed(tool: str, pairs: Sequence[tuple[Message, Message]]) -> tuple[Message, ...]:
    """Return calls that failed as prompts at inference have them."""
    return native_failed_turns(
        [
            FailedCall(arguments_json=_arguments(tool, call.content), observation=_returned(result))
            for call, result in pairs
        ],
        tool,
    )


def _returned(result: Message) -> str:
    return unescape_toolkens(result.content.removeprefix(_RESULT))


def general_dialog(row: TrainRow) -> tuple[Message, ...]:
    """Return a row of general data as a dialog: where no toolkens are, nothing is escaped."""
    return (*map(_plain, row.dialog_history), _plain(row.messages[-1]))


def _plain(message: Message) -> Message:
    return Message(role=message.role, content=unescape_toolkens(message.content))


def _said(text: str) -> Message:
    return assistant_message(unescape_toolkens(text))


def _call(tool: str, text: str) -> Message:
    call = MessageCall(id=CALL_ID, name=tool, arguments_text=_arguments(tool, text))
    return assistant_message("", (call,))


def _arguments(tool: str, text: str) -> str:
    """Return the arguments of a written call as JSON text."""
    before = call_text(toolken(tool), "")
    if not text.startswith(before):
        raise ValueError(f"it does not begin with {before!r}")
    written = text.removeprefix(before)
    try:
        value, _, end = decode_value(written)
    except JSONTextError as error:
        raise ValueError(f"its arguments are no JSON: {error}") from None
    if not isinstance(value, dict) or written[end:].strip():
        raise ValueError(f"its arguments are {written[:80]!r}, which is no JSON object")
    # What looks like a toolken was escaped in the text; as a value it is itself again.
    return canonical_json(value) if "\\u003ctool_" in written else written

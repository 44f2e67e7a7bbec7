"""Native calls in a reply, read: which tool, which arguments, and what cannot be executed.

The arguments are one strict JSON object (see ``strict_json``); no arguments at all are ``{}``,
because many servers send an empty text for a call without any. A call that is written into the text
of a reply is never executed: a server whose parser missed it may have missed or changed a part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import count

from ste_ray.core.effects import AskModel, ModelReply
from ste_ray.core.records import MessageCall, Oddity
from ste_ray.core.replies.parsing import ParseFailure, ToolCall
from ste_ray.core.replies.strict_json import JSONTextError, clip, decode_value
from ste_ray.core.replies.tool_names import no_such_tool
from ste_ray.core.replies.written_calls import call_in_text
from ste_ray.core.texts.safe_names import safe_name


def settled(reply: ModelReply, request: AskModel) -> ModelReply:
    """Return a reply with its calls under the tools' true names, and what is odd in its request.

    Args:
        reply: of an endpoint, where tools go by their safe names.
        request: what it answers.
    """
    names = {safe_name(tool.name): tool.name for tool in request.tools}
    calls = tuple(
        call.model_copy(update={"name": names[call.name]}) if call.name in names else call
        for call in reply.calls
    )
    found: list[Oddity] = []
    wanted = bool(request.tools) and request.tool_choice != "none"
    if calls and not wanted:
        found.append(Oddity(kind="uncalled_for", detail=f"{len(calls)} calls"))
    if again := len(calls) - len(distinct(calls)):
        found.append(Oddity(kind="call_repeated", detail=f"{again} of {len(calls)} calls"))
    # Where nothing but a call or an answer is wanted: an assistant's reply is one also at the end.
    answers = wanted or (bool(request.tools) and request.role == "assistant")
    if answers and not calls and reply.finish_reason in ("stop", "length"):
        if request.tool_choice == "required":
            found.append(Oddity(kind="not_called"))
        if written := call_in_text(reply.text, (*names, *names.values())):
            found.append(Oddity(kind="call_in_text", detail=clip(written)))
    if not found and calls == reply.calls:
        return reply
    return reply.model_copy(update={"calls": calls, "oddities": (*reply.oddities, *found)})


def distinct(calls: Iterable[MessageCall]) -> list[MessageCall]:
    """Return calls without those that repeat an earlier one, whatever their ids."""
    found: dict[tuple[str, str], MessageCall] = {}
    for call in calls:
        found.setdefault((call.name, _canonical(call.arguments_text)), call)
    return list(found.values())


def _canonical(arguments_text: str) -> str:
    written = arguments_text.strip() or "{}"
    try:
        _, arguments_json, end = decode_value(written)
    except JSONTextError:
        return written
    return arguments_json if end == len(written) else written


def with_own_ids(
    calls: Iterable[MessageCall], taken: Collection[str]
) -> tuple[tuple[MessageCall, ...], tuple[Oddity, ...]]:
    """Return calls each with an id that no other has, and which had none of their own.

    Ours are nine letters and digits, which every server and template takes.

    Args:
        calls: of one reply, as the endpoint sent them.
        taken: the ids of earlier calls in the conversation.
    """
    used = set(taken)
    numbers = count(len(used) + 1)
    mended, oddities = [], []
    for call in calls:
        if not call.id or call.id in used:
            # A missing one has been noted where the reply was read.
            if call.id:
                oddities.append(Oddity(kind="id_repeated", detail=clip(call.id)))
            own = next(name for name in (f"call{n:05d}" for n in numbers) if name not in used)
            call = call.model_copy(update={"id": own})
        used.add(call.id)
        mended.append(call)
    return tuple(mended), tuple(oddities)


def read_call(
    call: MessageCall, allowed: Collection[str], thought: str = "", *, suggest: bool = True
) -> ToolCall | ParseFailure:
    """Read a native call as one that can be executed, or as a failure that says what was wrong.

    As in ``parse_action`` a call must be complete for its name to be looked at.

    Args:
        call: by the tool's true name.
        allowed: the names of the tools.
        thought: what the reply says beside its calls.
        suggest: whether the message on an unknown tool lists similar names.
    """
    written = call.arguments_text.strip() or "{}"

    def failure(kind: str, message: str) -> ParseFailure:
        return ParseFailure(kind, message, thought, call.name)  # type: ignore[arg-type]

    try:
        value, arguments_json, end = decode_value(written)
    except JSONTextError as error:
        return failure("bad_json", f"its arguments are no valid JSON: {error}")
    if end != len(written):
        return failure("trailing_text", f"{clip(written[end:])} stands behind its arguments")
    if not isinstance(value, dict):
        message = f"its arguments {clip(written)} are JSON but no object"
        return failure("not_an_object", f'{message}; write {{"name": value}}')
    if call.name not in allowed:
        return failure("unknown_tool", no_such_tool(call.name, allowed, suggest))
    return ToolCall(thought, call.name, call.arguments_text, arguments_json, value)

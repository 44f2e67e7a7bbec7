"""The calls in a chat completion, whatever shape a server gives them, and what is odd about that.

Names are those of the wire, and ids as they came: ``core.replies.native`` makes them the tools'
true names, and ids that are there and differ. What is no call at all has an empty name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ste_ray.core.records import MessageCall, Oddity, OddityKind
from ste_ray.core.texts.surrogates import without_halves

_MAX_DETAIL_CHARS = 80
# tool_calls, function_call, tool_use, MALFORMED_FUNCTION_CALL.
_CALL_ENDS = re.compile(r"tool|function")
_OF_FIELD = object()  # the id of the call in ``function_call``, which never had one


class FoundCalls(NamedTuple):
    """The calls of a message, and what is odd about them."""

    calls: tuple[MessageCall, ...] = ()
    oddities: tuple[Oddity, ...] = ()

    @property
    def text(self) -> str:
        """What the model wrote for the calls."""
        return "".join(call.name + call.arguments_text for call in self.calls)


NO_CALLS = FoundCalls()


def read_calls(message: Mapping[str, Any], end: str, words: str) -> FoundCalls:
    """Return the calls of a message.

    Args:
        message: of a choice.
        end: how the reply came to its end, as ``responses`` reads it.
        words: what the endpoint says of that, in lower case.
    """
    entries, odd = _entries(message)
    calls = tuple(_call(entry, odd) for entry in entries)
    says_calls = bool(_CALL_ENDS.search(words))
    if says_calls and not calls:
        _note(odd, "finish_without_calls", words)
    if calls and end == "length":
        _note(odd, "cut_call", words)
    elif calls and not says_calls:
        _note(odd, "calls_without_finish", words or "no finish_reason")
    return FoundCalls(calls, tuple(odd)) if calls or odd else NO_CALLS


def _entries(message: Mapping[str, Any]) -> tuple[Sequence[Any], list[Oddity]]:
    """Return what stands for a call each."""
    odd: list[Oddity] = []
    given = message.get("tool_calls")
    if isinstance(given, Mapping):
        _note(odd, "call_shape", "tool_calls is no list")
        given = [given]
    if given and not isinstance(given, list):
        _note(odd, "call_shape", f"tool_calls is {given!r}")
    if isinstance(given, list) and given:
        return given, odd
    older = message.get("function_call")
    if isinstance(older, Mapping) and older:
        _note(odd, "function_call", str(older.get("name")))
        return [{"function": older, "id": _OF_FIELD}], odd
    return [], odd


def _call(entry: Any, odd: list[Oddity]) -> MessageCall:
    body = _body(entry)
    if body is None:
        _note(odd, "call_shape", repr(entry))
        return MessageCall(id="", name="", arguments_text=_written(entry))
    if body is entry or "custom" in entry:
        _note(odd, "call_shape", f"a call with the fields {', '.join(map(str, entry))}")
    name = body.get("name")
    if not isinstance(name, str) or not name.strip():
        _note(odd, "name_missing", repr(name))
        name = ""
    number = entry.get("id")
    if number is not _OF_FIELD and (not isinstance(number, str) or not number.strip()):
        _note(odd, "id_missing", f"the id {number!r}")
    return MessageCall(
        id=without_halves(number) if isinstance(number, str) else "",
        name=without_halves(name.strip()),
        arguments_text=without_halves(_arguments(body, odd)),
    )


def _body(entry: Any) -> Mapping[str, Any] | None:
    """Return what holds name and arguments: a field of the entry, or the entry itself."""
    if not isinstance(entry, Mapping):
        return None
    inner = (entry.get(key) for key in ("function", "custom"))
    found = next((one for one in inner if isinstance(one, Mapping)), None)
    return found if found is not None else (entry if "name" in entry else None)


def _arguments(body: Mapping[str, Any], odd: list[Oddity]) -> str:
    names = ("arguments", "parameters", "input")
    given = next((body[name] for name in names if body.get(name) is not None), None)
    if given is None or (isinstance(given, str) and not given.strip()):
        _note(odd, "arguments_empty", f"the arguments {given!r}")
        return given or ""
    if isinstance(given, str):
        return given
    _note(odd, "arguments_object", type(given).__name__)
    return _written(given)


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _note(odd: list[Oddity], kind: OddityKind, detail: str) -> None:
    odd.append(Oddity(kind=kind, detail=without_halves(detail[:_MAX_DETAIL_CHARS])))

"""Reading what models reply: a call or a final answer.

``parse_action`` is the one parser of the reply format (Thought / Action / Action Input / Final
Answer); it never guesses what a model meant, and never raises on any text. The rules by which the
published study read its replies, with their known faults, stand apart in
``ste_ray.core.scoring.study``. All regular expressions here run in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from ste_ray.core.replies.markers import SIDE_LABELS, Marker, find_markers, marker_at_start
from ste_ray.core.replies.strict_json import JSONTextError, clip, decode_value
from ste_ray.core.replies.tool_names import no_such_tool, tool_name_in

FailureKind = Literal[
    "empty",  # nothing but white space
    "no_action",  # neither a call nor a final answer
    "empty_answer",  # "Final Answer:" with nothing behind it
    "no_arguments",  # an Action without Action Input, or an empty one
    "not_an_object",  # the Action Input is JSON, but no object
    "bad_json",  # the Action Input cannot be read as JSON
    "trailing_text",  # something stands behind the object
    "several_calls",  # more than one call
    "unknown_tool",  # a complete call of a tool that does not exist
    "cut_call",  # native: the reply was cut, and the call may be a part of one
    "lost_call",  # native: the endpoint says that there is a call, and none came
    "call_in_text",  # native: the text seems to hold a call
    "unreadable_call",  # native, of a local model: not in the form of its chat template
]


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """The reply ends the trial."""

    thought: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The reply calls a tool; ``arguments_text`` is exactly what was written."""

    thought: str
    tool: str
    arguments_text: str
    arguments_json: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ParseFailure:
    """The reply is neither; ``message`` fits into "Your reply could not be used: ….".

    ``tool`` is the name as it was written, where there is one.
    """

    kind: FailureKind
    message: str
    thought: str = ""
    tool: str = ""


_INPUT = re.compile("input", re.IGNORECASE)


def parse_action(
    text: str, allowed: Collection[str], *, suggest: bool = True, thoughts: bool = True
) -> FinalAnswer | ToolCall | ParseFailure:
    """Read a reply as a final answer, a tool call, or a failure that says what was wrong.

    Markers count at the start of a line only, whatever their case and with Markdown around them;
    "Action Input:" may also stand on the line of its "Action:". What comes first counts: a call
    before an imagined Observation and Final Answer is that call. A second call with no Observation
    in between is refused. The name of the tool may be wrapped in quotes, backticks or as
    ``<tool_NAME>``, and must then be one of ``allowed``, white space apart where that leaves one
    tool: it is never replaced by a similar one. The arguments are one strict JSON object (see
    ``strict_json``); behind it only white space, a code fence or another marker may follow. A call
    must be complete for its name to be looked at, so that ``unknown_tool`` means a well-formed
    call.

    Args:
        text: the reply as the model wrote it.
        allowed: the names of the tools; give a set or a mapping where there are many.
        suggest: whether the message on an unknown tool lists similar names, which takes a search.
        thoughts: whether the thought is wanted; without it, it is empty.
    """
    plain = _parse_plain_call(text, allowed, suggest, thoughts)
    return plain or _parse_marked(text, allowed, suggest, thoughts)


def _parse_plain_call(
    text: str, allowed: Collection[str], suggest: bool, thoughts: bool
) -> ToolCall | ParseFailure | None:
    """Read the forms in which models are asked to write a call; None: it is another, or none.

    A line of thought may stand before the two lines of the call. It is what ``_parse_marked`` would
    return: nothing but the starts of these lines can be a marker.
    """
    head, between, written = text.partition("\nAction Input: ")
    thought = ""
    if head.startswith("Thought: "):
        line, _, head = head.partition("\n")
        thought = line[9:].strip() if thoughts else ""
    if not between or not head.startswith("Action: ") or "\n" in head or "\n" in written:
        return None
    name = tool_name_in(head[8:], allowed)
    if not name or not written.startswith("{") or _INPUT.search(head, 8):
        return None
    try:
        value, arguments_json, end = decode_value(written)
    except JSONTextError:
        return None
    if end != len(written):
        return None
    if name not in allowed:
        return ParseFailure("unknown_tool", no_such_tool(name, allowed, suggest), thought, name)
    return ToolCall(thought, name, written, arguments_json, value)


def _parse_marked(
    text: str, allowed: Collection[str], suggest: bool, thoughts: bool
) -> FinalAnswer | ToolCall | ParseFailure:
    if not text.strip():
        return ParseFailure("empty", "it is empty")
    markers = find_markers(text)
    first = 0
    while first < len(markers) and markers[first].label in SIDE_LABELS:
        first += 1
    markers = markers[first:]
    if not markers:
        message = 'it holds neither "Action:" nor "Final Answer:" at the start of a line'
        return ParseFailure("no_action", message, _thought(text))
    thought = _thought(text[: markers[0].start]) if thoughts else ""
    if markers[0].label == "finalanswer":
        return _parse_final_answer(text, markers, thought)
    return _parse_call(text, markers, thought, allowed, suggest)


def _thought(text: str) -> str:
    if not text:
        return text
    text = text.strip().removeprefix("```").lstrip()
    label = marker_at_start(text)
    return (text[label.end :] if label and label.label == "thought" else text).strip()


def _parse_final_answer(
    text: str, markers: list[Marker], thought: str
) -> FinalAnswer | ParseFailure:
    # An imagined next round is no part of the answer; a line such as "Action: see a doctor" may be.
    ends = (m.start for m in markers[1:] if m.label in (*SIDE_LABELS, "finalanswer"))
    answer = text[markers[0].end : next(ends, len(text))].strip()
    if not answer:
        return ParseFailure("empty_answer", 'nothing stands behind "Final Answer:"', thought)
    return FinalAnswer(thought, answer)


def _parse_call(
    text: str, markers: list[Marker], thought: str, allowed: Collection[str], suggest: bool
) -> ToolCall | ParseFailure:
    action = markers[0]
    if action.label == "actioninput":
        return ParseFailure("no_action", 'an "Action Input:" stands there without an "Action:"')
    name_end = markers[1].start if len(markers) > 1 else len(text)
    name = tool_name_in(text[action.end : name_end], allowed)
    if not name:
        return ParseFailure("no_action", 'nothing stands behind "Action:"', thought)
    if len(markers) < 2 or markers[1].label != "actioninput":
        if len(markers) > 1 and markers[1].label == "action":
            return _several_calls(thought, name)
        message = f'no "Action Input:" follows "Action: {clip(name)[1:-1]}"'
        return ParseFailure("no_arguments", message, thought, name)
    end = markers[2].start if len(markers) > 2 else len(text)
    arguments = _read_arguments(text[markers[1].end : end])
    if isinstance(arguments, ParseFailure):
        return ParseFailure(arguments.kind, arguments.message, thought, name)
    arguments_text, arguments_json, value, behind = arguments
    if _calls_again([behind, *(marker.label for marker in markers[2:])]):
        return _several_calls(thought, name)
    if name not in allowed:
        return ParseFailure("unknown_tool", no_such_tool(name, allowed, suggest), thought, name)
    return ToolCall(thought, name, arguments_text, arguments_json, value)


def _several_calls(thought: str, name: str) -> ParseFailure:
    message = "it holds more than one call; make one call a reply and wait for its result"
    return ParseFailure("several_calls", message, thought, name)


def _calls_again(labels: list[str]) -> bool:
    """Whether another call follows, with no Observation or Final Answer before it."""
    following = next((label for label in labels if label not in ("", "thought")), "")
    return following in ("action", "actioninput")


def _read_arguments(region: str) -> tuple[str, str, dict[str, Any], str] | ParseFailure:
    """Read the object in the text between "Action Input:" and the next line that has a marker.

    Returns:
        The object as written, its canonical JSON, the object, and the label of a marker behind it
        on its line.
    """
    written = region.strip(" \t\r\n`").removeprefix("json").lstrip()
    if not written:
        return ParseFailure(
            "no_arguments", 'the "Action Input:" is empty; write {} where there are no arguments'
        )
    start = region.find("{")
    if start < 0 or written[0] in '["':
        return _no_object(written)
    try:
        value, arguments_json, end = decode_value(region, start)
    except JSONTextError as error:
        return ParseFailure("bad_json", f'the "Action Input:" is no valid JSON: {error}')
    behind = region[end:].strip(" \t\r\n`*")
    marker = marker_at_start(behind) if behind else None
    # A reply that is cut at the word "Observation" may have lost the colon only.
    if behind and not marker and behind.lower() != "observation":
        message = f"{clip(behind)} stands behind the JSON object; end the reply after the object"
        return ParseFailure("trailing_text", message)
    return region[start:end], arguments_json, value, marker.label if marker else ""


def _no_object(written: str) -> ParseFailure:
    try:
        decode_value(written)
    except JSONTextError:
        message = f'the "Action Input:" {clip(written)} is no JSON object'
        return ParseFailure("bad_json", f'{message}; write {{"name": value}}')
    message = f'the "Action Input:" {clip(written)} is JSON but no object'
    return ParseFailure("not_an_object", f'{message}; write {{"name": value}}')

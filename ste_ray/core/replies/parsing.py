"""Reading what models reply: calls, verdicts and queries.

``parse_action`` is the one parser of the reply format (Thought / Action / Action Input / Final
Answer); it never guesses what a model meant, and never raises on any text. The rules by which the
published study read its replies, with their known faults, stand apart in
``ste_ray.core.scoring.study``. All regular expressions here run in linear time.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from ste_ray.core.records import Verdict
from ste_ray.core.replies.markers import SIDE_LABELS, Marker, find_markers, marker_at_start
from ste_ray.core.replies.strict_json import JSONTextError, clip, decode_value

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
_WRAPPERS = (("<tool_", ">"), ("`", "`"), ('"', '"'), ("'", "'"), ("“", "”"), ("**", "**"))
_MAX_WRAPPERS = 8
_MAX_LISTED_TOOLS = 20


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
    name = _tool_name(head[8:], allowed)
    if not name or not written.startswith("{") or _INPUT.search(head, 8):
        return None
    try:
        value, arguments_json, end = decode_value(written)
    except JSONTextError:
        return None
    if end != len(written):
        return None
    if name not in allowed:
        return ParseFailure("unknown_tool", _no_such_tool(name, allowed, suggest), thought, name)
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
    name = _tool_name(text[action.end : name_end], allowed)
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
        return ParseFailure("unknown_tool", _no_such_tool(name, allowed, suggest), thought, name)
    return ToolCall(thought, name, arguments_text, arguments_json, value)


def _several_calls(thought: str, name: str) -> ParseFailure:
    message = "it holds more than one call; make one call a reply and wait for its result"
    return ParseFailure("several_calls", message, thought, name)


def _calls_again(labels: list[str]) -> bool:
    """Whether another call follows, with no Observation or Final Answer before it."""
    following = next((label for label in labels if label not in ("", "thought")), "")
    return following in ("action", "actioninput")


def _tool_name(written: str, allowed: Collection[str]) -> str:
    name = written.strip().partition("\n")[0].rstrip()
    for _ in range(_MAX_WRAPPERS):
        if name in allowed:
            return name
        for left, right in _WRAPPERS:
            if (
                len(name) > len(left) + len(right)
                and name.startswith(left)
                and name.endswith(right)
            ):
                name = name[len(left) : -len(right)].strip()
                break
        else:
            break
    # What is left of "**Action: name**", whose opening belongs to the marker.
    bare = name.removesuffix("**").rstrip()
    if bare in allowed:
        return bare
    return _spaced_name(name, allowed) or _spaced_name(bare, allowed) or name


def _spaced_name(name: str, allowed: Collection[str]) -> str:
    """Return the one tool whose name differs from ``name`` in nothing but white space.

    Published names end in spaces or hold tabs, which models do not write as they are.
    """
    return _by_words(tuple(allowed)).get(" ".join(name.split()), "")


@lru_cache(maxsize=64)
def _by_words(tools: tuple[str, ...]) -> dict[str, str]:
    """Return the words of each name -> the tool, if no other has the same; never of no words."""
    found: dict[str, list[str]] = {}
    for tool in tools:
        found.setdefault(" ".join(tool.split()), []).append(tool)
    return {words: names[0] for words, names in found.items() if words and len(names) == 1}


def _no_such_tool(name: str, allowed: Collection[str], suggest: bool) -> str:
    message = f"there is no tool {clip(name)}"
    if not suggest:
        return message
    known = sorted(allowed)  # sets have no order, and messages must not change between processes
    if close := difflib.get_close_matches(name[:200], known, n=3):
        message += f" (similar names: {', '.join(map(repr, close))})"
    listed = ", ".join(map(repr, known[:_MAX_LISTED_TOOLS]))
    more = f" and {len(known) - _MAX_LISTED_TOOLS} more" if len(known) > _MAX_LISTED_TOOLS else ""
    return f"{message}; the tools are: {listed}{more}"


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


_DECORATION = r"[\s*_\"'`#>“”‘’(\[-]*+"
_YES_NO = re.compile(
    rf"{_DECORATION}(?:answer{_DECORATION}:{_DECORATION})?(yes|no)(?![^\W_])"
    r"(?P<other>\W{0,3}(?:and|or|/|&)\W{0,3}(?:yes|no)(?![^\W_]))?",
    re.IGNORECASE,
)


def parse_yes_no(text: str) -> Verdict:
    """Read the first word of a reply as a verdict; Markdown, quotes and "Answer:" may precede it.

    What begins with neither word, or with both ("Yes and no", "Yes or No"), is unparsable, which
    never counts as success.
    """
    match = _YES_NO.match(text)
    if not match or match["other"]:
        return "unparsable"
    return "yes" if match[1].lower() == "yes" else "no"


_QUERY_LABEL = re.compile(
    r"^[ \t>*_#`-]*+(?:user[ \t]++)?(?:query|request)[ \t*_`]*+:(?:\*\*)?",
    re.IGNORECASE | re.MULTILINE,
)
_QUOTES = (("```", "```"), ('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("«", "»"), ("`", "`"))
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")


def clean_query(text: str) -> str:
    """Take the imagined query out of a reply: no label, no quotes around it, nothing after it.

    It ends before the first line with a marker such as "Thought:", or with another query label.
    Returns an empty string where nothing is left.
    """
    text = _drop_query_label(text.strip())
    ends = [marker.start for marker in find_markers(text)[:1]]
    ends += [match.start() for match in [_QUERY_LABEL.search(text)] if match]
    query = text[: min(ends, default=len(text))].strip()
    return _drop_query_label(_unquote(query))


def _drop_query_label(text: str) -> str:
    for _ in range(2):  # a reply may repeat the label that ends its prompt
        if label := _QUERY_LABEL.match(text):
            text = _unquote(text[label.end() :].strip())
    return text


def _unquote(text: str) -> str:
    for left, right in _QUOTES:
        if len(text) > len(left + right) and text.startswith(left) and text.endswith(right):
            inner = text[len(left) : -len(right)]
            # '"A" or "B"' is not one quotation; an apostrophe within a word closes none.
            if not any(mark in _APOSTROPHE.sub("", inner) for mark in {left, right}):
                return inner.strip()
    return text

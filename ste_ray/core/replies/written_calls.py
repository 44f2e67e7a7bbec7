"""Calls that stand in a text, in whatever form: noticed, so that no text with one is an answer.

What is noticed is never executed: whoever did not read it may have lost a part. What a text only
mentions is no call: ``add(n=1)`` or an object within a sentence, a tag alone in backquotes. All
regular expressions here run in linear time, and the rest is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from ste_ray.core.native_calls.loose_values import read_literal
from ste_ray.core.replies.markers import find_markers
from ste_ray.core.replies.parsing import FinalAnswer, parse_action
from ste_ray.core.replies.strict_json import JSONTextError, decode_value
from ste_ray.core.replies.tool_names import tool_name_in

# Tags of the forms in which open models write calls, whatever the family: the word for a tool or a
# function within angle brackets, or the same in square ones. Links in angle brackets are none.
_CALL_TAG = re.compile(
    r"<(?![^<>\n]{0,110}(?:@|://))[^<>\s]{0,24}(?<![a-z])(?:tool|function|invoke)"
    r"(?:[-_▁ ]?calls?|s)?(?=[_▁=:|｜>]|\s{1,4}name\s?=)[^<>\n]{0,80}>|<\|python_tag\|>"
    r"|\[/?(?:available_)?tool[_ ]?calls?\]",
    re.IGNORECASE,
)
# What only a tag of a call has within it. Any other one may be a type or an element of a markup.
_OWN_SIGN = re.compile(r"[|｜=]")
_NAMESPACE = re.compile(r"\w:\w")
# What stands behind a tag that opens a call: what is called, or the object of the call.
_BEHIND_TAG = re.compile(r"\w|[ \t]*+(?:[{\n]|<(?!/)|\[(?!\w*\]))")
_NAME_KEYS = ("name", "tool", "tool_name", "function", "action")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "action_input", "tool_input")
# An object that begins as a call does, also where the rest is broken.
_BEGUN = re.compile(
    rf"\{{\s{{0,40}}[\"'](?:{'|'.join(_NAME_KEYS)})[\"']\s{{0,9}}:\s{{0,9}}"
    r"[\"'](?P<name>[^\"'\n]{1,256})[\"']\s{0,9},\s{0,40}"
    rf"[\"'](?:{'|'.join(_ARGUMENT_KEYS)})[\"']\s{{0,9}}:"
)
# What may stand before a call on its line: quoting, a label, an assignment.
_BEFORE_OBJECT = re.compile(r"[ \t>`(\[]*+(?:\w{1,16}[ \t]?[:=]|\w{1,16}(?=\[))?[ \t`(\[]*+")
_BEFORE_CALL = (
    r"^[ \t>`]{0,12}(?P<list>\[?)[`\[]{0,4}"
    r"(?:print\(|await |return |[A-Za-z_]\w{0,40} ?= ?){0,3}"
    r"(?:(?:functions|tools|default_api)\.)?"
)
_BEHIND_CALL = re.compile(r"[ \t)\]`;,.]*+")
_LINE_ENDS = ("\n", "#", "//")
_WORD = re.compile(r"\w")
_MAX_OBJECTS = 32
_MAX_PLACES = 8
_MAX_QUOTING = 12  # characters before a tag that begins its line


def call_in_text(text: str, names: Collection[str]) -> str:
    """Return the beginning of what seems to be a call within a text; empty: there is none.

    Args:
        text: of a reply without native calls.
        names: of the tools, safe and true.
    """
    tag = next((one for one in _CALL_TAG.finditer(text) if not _is_mention(one)), None)
    if tag:
        return text[tag.start() :]
    marked = parse_action(text, names, suggest=False, thoughts=False)
    if not isinstance(marked, FinalAnswer) and marked.tool in names:
        return text
    calls = tuple(f"{name}(" for name in names if name)
    places = [_written_as_code(text, call, calls) for call in calls if call in text]
    places.append(_object(text, frozenset(names)))
    found = [place for place in places if place is not None]
    return text[min(found) :] if found else ""


def marks_call(text: str, names: Collection[str]) -> bool:
    """Whether an answer calls by markers: an input stands there, or an action that is a tool.

    Args:
        text: of the answer, where a line such as "Action: see a doctor" may stand.
        names: of tools that are known to the model.
    """
    markers = find_markers(text)
    ends = [*(marker.start for marker in markers[1:]), len(text)]
    return any(
        marker.label == "actioninput"
        or (marker.label == "action" and tool_name_in(text[marker.end : end], names) in names)
        for marker, end in zip(markers, ends, strict=False)
    )


def _is_mention(tag: re.Match[str]) -> bool:
    """Whether a tag is only spoken of: it is quoted, a type, a link, or a word of a sentence."""
    text, start, end = tag.string, tag.start(), tag.end()
    before, behind = text[max(0, start - 1) : start], text[end : end + 1]
    if before + behind == "``":
        return True
    if _OWN_SIGN.search(tag[0]):
        return False
    if _WORD.match(before) or (tag[0][0] == "[" and behind == "("):
        return True
    quoting = "\n" + text[:start] if start <= _MAX_QUOTING else text[start - _MAX_QUOTING : start]
    begins_line = quoting.rstrip(" \t>`").endswith("\n")
    is_call = _NAMESPACE.search(tag[0]) or (begins_line and "call" in tag[0].lower())
    if tag[0][0] == "<" and is_call:
        return False
    return not _BEHIND_TAG.match(text, end)


@lru_cache(maxsize=512)
def _code(call: str) -> re.Pattern[str]:
    return re.compile(f"{_BEFORE_CALL}{re.escape(call)}", re.MULTILINE)


def _written_as_code(text: str, call: str, calls: tuple[str, ...]) -> int | None:
    """Return where a call stands as in a program: alone, or with others, on lines of its own.

    Args:
        text: of the reply.
        call: the name of a tool and the bracket that opens its arguments.
        calls: the same of all tools.
    """
    for match in islice(_code(call).finditer(text), _MAX_PLACES):
        opened = match.end("list") if match["list"] else match.end()
        if _ends_line(text, _closed(text, opened), calls):
            return match.start()
    return None


def _ends_line(text: str, end: int | None, calls: tuple[str, ...]) -> bool:
    """Whether nothing but other calls follows on the line where a call ends, if it ends."""
    for _ in range(_MAX_PLACES):
        if end is None:
            return True
        behind = _BEHIND_CALL.match(text, end)
        place = behind.end() if behind else end
        if place == len(text) or text.startswith(_LINE_ENDS, place):
            return True
        other = next((call for call in calls if text.startswith(call, place)), "")
        if not other:
            return False
        end = _closed(text, place + len(other))
    return True


def _closed(text: str, place: int) -> int | None:
    """Return where the bracket is closed that was opened before ``place``; None: nowhere."""
    depth, quote = 1, ""
    while place < len(text):
        char = text[place]
        if quote:
            place += char == "\\"
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        place += 1
        if not depth:
            return place
    return None


def _object(text: str, names: Collection[str]) -> int | None:
    """Return where an object stands that is a call, as JSON or as Python prints it."""
    place = text.find("{")
    for _ in range(_MAX_OBJECTS):
        if place < 0:
            break
        value, end = _value(text, place)
        if _is_call(value, names) and _stands_apart(text, place, end):
            return place
        place = text.find("{", place + 1)
    named = (match.start() for match in _BEGUN.finditer(text) if match["name"] in names)
    broken = (place for place in islice(named, _MAX_OBJECTS) if _value(text, place)[0] is None)
    return next((place for place in broken if _stands_apart(text, place, None)), None)


def _value(text: str, place: int) -> tuple[Any, int]:
    for read in (decode_value, _literal):
        try:
            found = read(text, place)
        except JSONTextError:
            continue
        return found[0], found[-1]
    return None, len(text)


def _literal(text: str, place: int) -> tuple[Any, int]:
    return read_literal(text, place)


def _is_call(value: Any, names: Collection[str]) -> bool:
    if not isinstance(value, Mapping):
        return False
    inner = value.get("function")
    body = inner if isinstance(inner, Mapping) else value
    if "description" in body:  # what a tool is, not a call of it
        return False
    named = any(isinstance(body.get(key), str) and body[key] in names for key in _NAME_KEYS)
    return named and any(key in body for key in _ARGUMENT_KEYS)


def _stands_apart(text: str, start: int, end: int | None) -> bool:
    """Whether an object begins a line, or no word follows it; else it stands within a sentence.

    Args:
        text: of the reply.
        start: of the object.
        end: of it; None: it is broken, and ends where its bracket is closed, if anywhere.
    """
    line = text.rfind("\n", 0, start) + 1
    if _BEFORE_OBJECT.fullmatch(text, line, start):
        return True
    end = _closed(text, start + 1) if end is None else end
    return end is None or not _WORD.search(text, end)

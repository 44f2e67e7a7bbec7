"""Calls that stand in a text, in whatever form: noticed, so that no text with one is an answer.

What is noticed is never executed: whoever did not read it may have lost a part. What a text only
mentions is no call: ``add(n=1)`` or an object within a sentence, a tag alone in backquotes. All
regular expressions here run in linear time, and the rest is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from ste_ray.core.native_calls.loose_values import read_literal
from ste_ray.core.replies.parsing import FinalAnswer, parse_action
from ste_ray.core.replies.strict_json import JSONTextError, decode_value

# Tags of the forms in which open models write calls, whatever the family: the word for a tool or a
# function within angle brackets, or the same in square ones. Links in angle brackets are none.
_CALL_TAG = re.compile(
    r"<(?![^<>\n]{0,110}(?:@|://))[^<>\s]{0,24}(?<![a-z])(?:tool|function|invoke)"
    r"(?:[-_▁ ]?calls?|s)?(?=[_▁=:|｜>]|\s{1,4}name\s?=)[^<>\n]{0,80}>|<\|python_tag\|>"
    r"|\[/?(?:available_)?tool[_ ]?calls?\]",
    re.IGNORECASE,
)
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
    r"^[ \t>]{0,8}(?P<list>[`\[]{0,4})(?:print\(|await |return |[a-z_]\w{0,40} ?= ?){0,3}"
    r"(?:(?:functions|tools|default_api)\.)?"
)
_BEHIND_CALL = re.compile(r"[ \t)\]`;,.]*+(?:\n|\Z)")
_WORD = re.compile(r"\w")
_MAX_OBJECTS = 32
_MAX_PLACES = 8


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
    places = [_written_as_code(text, name) for name in names if name and name in text]
    places.append(_object(text, frozenset(names)))
    found = [place for place in places if place is not None]
    return text[min(found) :] if found else ""


def _is_mention(tag: re.Match[str]) -> bool:
    around = tag.string[max(0, tag.start() - 1) : tag.start()] + tag.string[tag.end() :][:1]
    return around == "``"


@lru_cache(maxsize=512)
def _code(name: str) -> re.Pattern[str]:
    return re.compile(rf"{_BEFORE_CALL}{re.escape(name)}\(", re.IGNORECASE | re.MULTILINE)


def _written_as_code(text: str, name: str) -> int | None:
    """Return where a call stands as in a program: at the beginning, or on lines of its own."""
    start = len(text) - len(text.lstrip())
    for number, match in enumerate(_code(name).finditer(text)):
        if number == _MAX_PLACES:
            break
        end = _closed(text, match.end())
        first = match.start() <= start and "=" not in match[0]
        if first or match["list"] or end is None or _BEHIND_CALL.match(text, end):
            return match.start()
    return None


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
    begun = (match for match in _BEGUN.finditer(text) if match["name"] in names)
    apart = (one.start() for one in begun if _value(text, one.start())[0] is None)
    return next(apart, None)


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


def _stands_apart(text: str, start: int, end: int) -> bool:
    """Whether a part begins a line, or no word follows it; else it stands within a sentence."""
    line = text.rfind("\n", 0, start) + 1
    return bool(_BEFORE_OBJECT.fullmatch(text, line, start)) or not _WORD.search(text, end)

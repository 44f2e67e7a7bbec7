"""Values that are written neither as JSON nor as text: read strictly, in linear time.

Two notations: objects with bare keys whose texts stand between a mark of their own, and values as
Python prints them. Both know the words of JSON and of Python, since templates mix them.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ste_ray.core.replies.strict_json import MAX_DEPTH, JSONTextError, clip, decode_value

_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_WORD = re.compile(r"[A-Za-z]++")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_SPACE = re.compile(r"\s*+")
_BARE_KEY = re.compile(r"[^\s:{}\[\],\"'<>|]++")
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*+)'|\"((?:[^\"\\]|\\.)*+)\"", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0", "a": "\a", "v": "\v"}


def read_loose(text: str, start: int, quote: str) -> tuple[Any, int]:
    """Read an object with bare keys that begins at ``start``.

    Args:
        text: that it stands in.
        start: where.
        quote: what stands before and behind each text.

    Returns:
        The value, and where it ends.

    Raises:
        JSONTextError: it is none.
    """
    return _Reader(text, quote).value(start, 0)


def read_literal(text: str, start: int) -> tuple[Any, int]:
    """Read the value that begins at ``start`` as Python prints it, or as JSON.

    Returns:
        The value, and where it ends.

    Raises:
        JSONTextError: it is none.
    """
    return _Reader(text, "").value(start, 0)


def read_python(text: str) -> Any:
    """Read a text that is one value as Python prints it, or as JSON.

    Raises:
        JSONTextError: it is none.
    """
    value, end = read_literal(text, 0)
    if text[end:].strip():
        raise JSONTextError(f"{clip(text[end:])} stands behind the value")
    return value


class _Reader:
    def __init__(self, text: str, quote: str) -> None:
        self._text = text
        self._quote = quote

    def value(self, place: int, depth: int) -> tuple[Any, int]:
        if depth > MAX_DEPTH:
            raise JSONTextError(f"it is nested more than {MAX_DEPTH} levels deep")
        place = self._skip(place)
        if self._quote and self._text.startswith(self._quote, place):
            return self._marked(place)
        char = self._text[place : place + 1]
        if char == "{":
            return self._object(place + 1, depth)
        if char == "[":
            return self._list(place + 1, depth)
        if char and char in "\"'":
            return self._quoted(place)
        return self._plain(place)

    def _skip(self, place: int) -> int:
        found = _SPACE.match(self._text, place)
        return found.end() if found else place

    def _marked(self, place: int) -> tuple[str, int]:
        start = place + len(self._quote)
        end = self._text.find(self._quote, start)
        if end < 0:
            raise JSONTextError(f"a text is not closed by {clip(self._quote)}")
        return self._text[start:end], end + len(self._quote)

    def _quoted(self, place: int) -> tuple[str, int]:
        found = _QUOTED.match(self._text, place)
        if not found:
            raise JSONTextError("a text is not closed")
        written = found[1] if found[1] is not None else found[2]
        return _joined(_ESCAPE.sub(_unescaped, written)), found.end()

    def _plain(self, place: int) -> tuple[Any, int]:
        if (word := _WORD.match(self._text, place)) and word[0] in _WORDS:
            return _WORDS[word[0]], word.end()
        number = _NUMBER.match(self._text, place)
        if number:
            value, _, end = decode_value(number[0])
            return value, place + end
        near = clip(self._text[place : place + 30])
        raise JSONTextError(f"no value begins at character {place + 1}, near {near}")

    def _object(self, place: int, depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        place = self._skip(place)
        if self._text.startswith("}", place):
            return found, place + 1
        while True:
            key, place = self._key(self._skip(place))
            place = self._expect(":", place)
            if key in found:
                raise JSONTextError(f"it has the key {clip(key)} more than once")
            found[key], place = self.value(place, depth + 1)
            place = self._skip(place)
            if self._text.startswith("}", place):
                return found, place + 1
            place = self._expect(",", place)

    def _key(self, place: int) -> tuple[str, int]:
        if self._quote and self._text.startswith(self._quote, place):
            return self._marked(place)
        if self._text[place : place + 1] in ("'", '"'):
            return self._quoted(place)
        bare = _BARE_KEY.match(self._text, place)
        if not bare:
            raise JSONTextError(f"no key stands at character {place + 1}")
        return bare[0], bare.end()

    def _list(self, place: int, depth: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        place = self._skip(place)
        if self._text.startswith("]", place):
            return found, place + 1
        while True:
            value, place = self.value(place, depth + 1)
            found.append(value)
            place = self._skip(place)
            if self._text.startswith("]", place):
                return found, place + 1
            place = self._expect(",", place)

    def _expect(self, char: str, place: int) -> int:
        place = self._skip(place)
        if not self._text.startswith(char, place):
            near = clip(self._text[place : place + 30])
            raise JSONTextError(f"{char!r} is missing at character {place + 1}, near {near}")
        return place + 1


def _joined(text: str) -> str:
    """Return a text in which pairs of surrogates, as JSON escapes them, are the characters."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code:
        number = int(code, 16)
        return chr(number) if number < 0x110000 else match[0]
    return _ESCAPED.get(match[4], match[4] if match[4] in "'\"\\/" else match[0])


def loose_text(value: Any, quote: str) -> str:
    """Write a value with bare keys and marked texts, as ``read_loose`` reads it."""
    if isinstance(value, str):
        return f"{quote}{value}{quote}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{loose_text(one, quote)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(loose_text(one, quote) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)

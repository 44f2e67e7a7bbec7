"""Ways in which programs write a text inside another one, and how to find a place back.

A view is what a text says once one such way is undone, all over it: escape sequences, base64 at
any alignment, hexadecimal digits, line breaks. Where nothing is written that way, a view is noise,
which does no harm to whoever looks for something long enough in it. Texts are bytes (UTF-8).
"""

from __future__ import annotations

import binascii
import bisect
import html
import re
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

# Takes a span of a view, returns that of the text which it was made of.
Locate = Callable[[int, int], tuple[int, int]]

_SIMPLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"a": b"\a"}
# Each alternative begins with a character of its own, which makes the search fast.
_ESCAPE = re.compile(
    rb"%%(?:(?P<byte>%(x)s{2})|u(?P<unit>%(x)s{4}))"
    rb"|&(?:#[xX](?P<entity>%(x)s{1,6});?|#(?P<decimal>[0-9]{1,7});?"
    rb"|(?P<named>[A-Za-z][A-Za-z0-9]{1,31};))"
    rb"|\\(?:u(?P<pair>[dD][89abAB]%(x)s{2}\\u[dD][c-fC-F]%(x)s{2})"
    rb"|(?:u|U0000)(?P<code>%(x)s{4})|u\{(?P<braced>%(x)s{1,6})\}|x(?P<escaped>%(x)s{2})"
    rb"|(?P<octal>[0-3][0-7]{2})|(?P<simple>[^0-9\x80-\xff]))"
    rb"|(?P<unseen>\xe2(?:\x80[\x8b-\x8f\xaa-\xae]|\x81[\xa0-\xaf])|\xc2\xad|\xef\xbb\xbf)"
    rb"|(?P<wide>\xef(?:\xbc[\x81-\xbf]|\xbd[\x80-\x9e]))" % {b"x": rb"[0-9A-Fa-f]"},
    re.DOTALL,
)
_BEGINNINGS = (b"%", b"\\", b"&", b"\xe2\x80", b"\xe2\x81", b"\xc2\xad", b"\xef")
_BASE64 = (string.ascii_letters + string.digits + "+/-_").encode()
_STANDARD = bytes.maketrans(b"-_", b"+/")
_SPACE = b" \t\r\n\v\f+"
_NO_LETTERS = bytes(code for code in range(128) if not (chr(code).isalnum()))
# It begins with a digit, not with a group: that makes the search fast.
_NUMBERS = re.compile(
    rb"[0-9][0-9]{1,2}[,;\s+]{1,3}(?:[0-9]{2,3}[,;\s+]{1,3}){6,}[0-9]{2,3}(?![0-9])"
)
_BYTES = bytes(range(256))
_NO_BASE64 = _BYTES.translate(None, _BASE64)
_NO_HEX = _BYTES.translate(None, b"0123456789abcdef")
_RUNS64 = bytes.maketrans(_BASE64, b"a" * len(_BASE64))
_HEX_DIGITS = b"0123456789abcdefABCDEF"
_RUNS16 = bytes.maketrans(_HEX_DIGITS, b"a" * len(_HEX_DIGITS))
_BETWEEN_HEX = _SPACE + b"xX:;,.-_=|/\\'\"[](){}"
_PRINTABLE = string.printable.encode()
_RUNS_PRINTABLE = bytes.maketrans(_PRINTABLE, b"a" * len(_PRINTABLE))
_MAX_RUN = 12
_WIDER = 0xFEE0  # what wide characters are above the same narrow ones
_HEX_PREFIX = re.compile(rb"0x(?=[0-9a-f])")


@dataclass(frozen=True)
class View:
    """What a text says when one way of writing is undone.

    Attributes:
        data: that text.
        locate: finds the place of a span of ``data`` in the text it was made of.
    """

    data: bytes
    locate: Locate


def unescaped(data: bytes) -> View | None:
    """Undo escape sequences once, and what only looks different; None: there is nothing.

    The sequences are those of URLs, JSON, Python and HTML. Characters that nobody sees are left
    out, and those of East Asian width are narrow.
    """
    if not any(begin in data for begin in _BEGINNINGS):
        return None
    plain = _ESCAPE.sub(_meaning, data)
    return None if plain == data else View(plain, _Escaped(data))


def may_be_packed(data: bytes, num_bytes: int) -> bool:
    """Whether ``data`` has enough digits in a row for ``num_bytes`` in base64 or hexadecimal.

    In ordinary text they are rare, and this look costs a fraction of undoing the encodings. Twelve
    digits are always enough.
    """
    run64 = b"a" * max(4, min(_MAX_RUN, num_bytes * 8 // 6 - 1))
    # Separators that could stand between words too are looked through for hexadecimal only.
    if run64 in data.translate(_RUNS64, b"\r\n"):
        return True
    run16 = b"a" * min(_MAX_RUN, num_bytes * 2)
    return run16 in data.translate(_RUNS16, _BETWEEN_HEX)


def packed_views(data: bytes) -> Iterator[View]:
    """Yield what ``data`` says as base64 and as hexadecimal, whatever stands between the digits."""
    kept = data.translate(_STANDARD, _NO_BASE64)
    for phase in range(4):
        part = kept[phase:]
        part = part[: len(part) - (len(part) % 4 == 1)]
        if len(part) > 1:
            decoded = binascii.a2b_base64(part + b"=" * (-len(part) % 4))
            yield View(decoded, _Digits(partial(_base64_places, data), 6, phase))
    low = data.lower()
    marked = b"0x" in low
    digits = (_HEX_PREFIX.sub(b"", low) if marked else low).translate(None, _NO_HEX)
    for phase in range(2):
        part = digits[phase : phase + (len(digits) - phase) // 2 * 2]
        if part:
            yield View(bytes.fromhex(part.decode()), _Digits(partial(_hex_places, low), 4, phase))


def squeeze(data: bytes) -> bytes:
    """Take out all but letters and digits."""
    return data.translate(None, _NO_LETTERS)


def squeezed(data: bytes) -> View:
    """Take out all but letters and digits: some programs wrap, space out, or list characters."""
    return View(squeeze(data), _Digits(partial(_solid_places, data), 8))


def numbered(data: bytes) -> Iterator[View]:
    """Yield what lists of numbers say, each a byte."""
    for match in _NUMBERS.finditer(data):
        numbers = list(re.finditer(rb"[0-9]+", match[0]))
        codes = bytes(min(255, int(number[0])) for number in numbers)
        places = [(match.start() + n.start(), match.start() + n.end()) for n in numbers]
        yield View(codes, partial(_listed_place, places))


def narrowed(data: bytes) -> View | None:
    """Take out zeros, which UTF-16 has between letters; None: there are none."""
    if b"\0" not in data:
        return None
    return View(data.translate(None, b"\0"), _Digits(partial(_nonzero_places, data), 8))


def may_be_text(data: bytes, num_chars: int) -> bool:
    """Whether ``data`` has ``num_chars`` printable characters in a row; noise seldom has twenty."""
    return b"a" * num_chars in data.translate(_RUNS_PRINTABLE, b"\0")


def _meaning(match: re.Match[bytes]) -> bytes:
    kind = match.lastgroup or ""
    found: bytes = match[kind]
    if kind in ("byte", "escaped"):
        return _BYTES[int(found, 16) :][:1]
    if kind == "unseen":
        return b""
    if kind == "wide":
        return bytes([ord(found.decode()) - _WIDER])
    if kind == "simple":
        return _SIMPLE.get(found, found)
    if kind == "octal":
        return _BYTES[int(found, 8) :][:1]
    if kind == "named":
        return html.unescape(f"&{found.decode()}").encode()
    if kind == "pair":
        units = bytes.fromhex((found[:4] + found[6:]).decode())
        return units.decode("utf-16-be").encode()
    code = int(found, 10 if kind == "decimal" else 16)
    return chr(code).encode("utf-8", "surrogatepass") if code <= 0x10FFFF else match[0]


class _Escaped:
    """Locates spans of unescaped text in the escaped one."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __call__(self, start: int, end: int) -> tuple[int, int]:
        return self._place(start)[0], self._place(end - 1)[1]

    @cached_property
    def _pieces(self) -> tuple[list[int], list[tuple[int, int, bool]]]:
        """Offsets at which pieces begin, and of each: its place, and whether it is a sequence."""
        starts, places, shift = [0], [(0, 0, False)], 0
        for match in _ESCAPE.finditer(self._data):
            length = len(_meaning(match))
            begun = match.start() - shift
            shift = match.end() - begun - length
            starts += [begun, begun + length]
            places += [(match.start(), match.end(), True), (match.end(), match.end(), False)]
        return starts, places

    def _place(self, offset: int) -> tuple[int, int]:
        starts, places = self._pieces
        index = bisect.bisect_right(starts, offset) - 1
        first, last, is_sequence = places[index]
        if is_sequence:
            return first, last
        first += offset - starts[index]
        return first, first + 1


class _Digits:
    """Locates bytes in the digits that stand for them.

    Args:
        kept: returns the places of all digits.
        num_bits: of a digit.
        phase: how many digits were left out at the start.
    """

    def __init__(self, kept: Callable[[], list[int]], num_bits: int, phase: int = 0) -> None:
        self._find_kept = kept
        self._num_bits, self._phase = num_bits, phase

    def __call__(self, start: int, end: int) -> tuple[int, int]:
        first = self._phase + start * 8 // self._num_bits
        last = self._phase + (end * 8 - 1) // self._num_bits
        return self._kept[first], self._kept[last] + 1

    @cached_property
    def _kept(self) -> list[int]:
        return self._find_kept()


def _base64_places(data: bytes) -> list[int]:
    return [place for place, byte in enumerate(data) if byte in _BASE64]


def _hex_places(data: bytes) -> list[int]:
    prefixes = {match.start() for match in _HEX_PREFIX.finditer(data)}
    return [p for p, byte in enumerate(data) if byte in _HEX_DIGITS and p not in prefixes]


def _solid_places(data: bytes) -> list[int]:
    return [place for place, byte in enumerate(data) if byte not in _NO_LETTERS]


def _listed_place(places: list[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    return places[start][0], places[end - 1][1]


def _nonzero_places(data: bytes) -> list[int]:
    return [place for place, byte in enumerate(data) if byte]

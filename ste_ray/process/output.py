"""What commands print: results on standard output, progress on standard error.

Much of it comes from models, tools and servers. What would steer a terminal, or make a text look
like another, is written as an escape sequence; a person then sees it.

All of it passes ``masked_output``, the last net under whatever a library, a tool or an endpoint has
put into a text: no secret of this process leaves it this way.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TextIO

from ste_ray.core.texts.masking import Masker
from ste_ray.process.environment import environment_masker

Colour = Literal["cyan", "yellow", "green", "red"]
_COLOURS: dict[Colour, str] = {
    "cyan": "\033[36m",
    "yellow": "\033[33m",
    "green": "\033[32m",
    "red": "\033[31m",
}
_RESET = "\033[0m"
# Control characters but tab and line feed, DEL and C1; what turns the direction of writing; other
# line breaks; what is invisible, but for the joiners that scripts and emoji need; half characters.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    """Return ``text`` as a terminal may show it, unsafe characters as escape sequences."""
    return _UNSAFE.sub(_escaped, text.replace("\r\n", "\n"))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _escaped_in_json(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


def say(text: str) -> None:
    """Print a line for the person who waits."""
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


def write_text(text: str) -> None:
    """Print a result for a person."""
    sys.stdout.write(printable(text))


def coloured(text: str, colour: Colour) -> str:
    """Return ``text`` as a terminal may show it, in a colour if standard output is one.

    ``FORCE_COLOR`` and ``NO_COLOR`` in the environment count.
    """
    plain = not sys.stdout.isatty() and os.environ.get("FORCE_COLOR") is None
    if plain or os.environ.get("NO_COLOR"):
        return printable(text)
    return f"{_COLOURS[colour]}{printable(text)}{_RESET}"


def print_json(value: Any, *, one_line: bool = False) -> None:
    """Print a result for a machine; characters that are escaped are the same to it."""
    indent = None if one_line else 2
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    masker = environment_masker()
    if masker.mask(text) != text:
        # Value by value: the whole has a form to keep.
        masked = masked_value(json.loads(text), masker)
        text = json.dumps(masked, indent=indent, ensure_ascii=False)
    sys.stdout.write(_UNSAFE.sub(_escaped_in_json, text) + "\n")


def print_result(result: Any, text: str, as_json: bool) -> None:
    """Print a result: ``text`` for a person, or ``result`` as JSON."""
    if as_json:
        print_json(result)
    else:
        write_text(text)


def masked_value(value: Any, masker: Masker) -> Any:
    """Return a JSON value with the texts in it masked, names too."""
    if isinstance(value, str):
        return masker.mask(value)
    if isinstance(value, list | tuple):
        return [masked_value(one, masker) for one in value]
    if isinstance(value, dict):
        return {masked_value(k, masker): masked_value(v, masker) for k, v in value.items()}
    return value


def open_closed_streams() -> None:
    """Put the null device in the place of standard streams that were closed for this process.

    Python sets them to None, and the next file that is opened would take their number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


@contextmanager
def masked_output() -> Iterator[None]:
    """Mask what is written to standard output and error meanwhile, tracebacks and logs included."""
    masker = environment_masker()
    before = sys.stdout, sys.stderr
    if masker:
        sys.stdout, sys.stderr = (_MaskedStream(one, masker) for one in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _MaskedStream:
    """A text stream that masks each text it is given, and else is the one it was made of."""

    def __init__(self, inner: TextIO, masker: Masker) -> None:
        self._inner = inner
        self._masker = masker

    def write(self, text: str) -> int:
        self._inner.write(self._masker.mask(text))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

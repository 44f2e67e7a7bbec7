"""What commands print: results on standard output, progress on standard error.

Much of it comes from models, tools and servers. What would steer a terminal, or make a text look
like another, is written as an escape sequence; a person then sees it.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

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


def print_json(value: Any) -> None:
    """Print a result for a machine; characters that are escaped are the same to it."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write(_UNSAFE.sub(_escaped_in_json, text) + "\n")


def print_result(result: Any, text: str, as_json: bool) -> None:
    """Print a result: ``text`` for a person, or ``result`` as JSON."""
    if as_json:
        print_json(result)
    else:
        write_text(text)

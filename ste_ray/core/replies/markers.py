"""Finding the markers of the reply format ("Thought:", "Action:", …), in linear time."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple, cast

Label = Literal["thought", "action", "actioninput", "observation", "finalanswer"]

# Markers of a call.
CALL_LABELS: tuple[Label, ...] = ("action", "actioninput")
# Markers that neither call a tool nor answer.
SIDE_LABELS: tuple[Label, ...] = ("thought", "observation")

# A marker stands at the start of a line, maybe behind Markdown. The possessive classes do not
# overlap with what follows them, so nothing is tried twice.
_MARKER = re.compile(
    r"^[ \t>*_#`-]*+(thought|action[ \t]*input|action|observation|final[ \t]*answer)"
    r"[ \t*_`]*+[:：](?:\*\*)?",
    re.IGNORECASE | re.MULTILINE | re.ASCII,
)
_INLINE_INPUT = re.compile(r"action[ \t]input[*_`]*+[:：](?:\*\*)?", re.IGNORECASE | re.ASCII)


class Marker(NamedTuple):
    """A marker in a text: ``text[start:end]`` is all of it, with its colon."""

    label: Label
    start: int
    end: int


def find_markers(text: str) -> list[Marker]:
    """All markers that stand at the start of a line, in order.

    An "Action Input:" on the line of its "Action:" is one too.
    """
    markers = []
    for match in _MARKER.finditer(text):
        start, end = match.span()
        label = _label(match[1])
        markers.append(Marker(label, start, end))
        if label == "action":
            line_end = text.find("\n", end)
            stop = line_end if line_end >= 0 else len(text)
            if inline := _INLINE_INPUT.search(text, end, stop):
                markers.append(Marker("actioninput", inline.start(), inline.end()))
    return markers


def marker_at_start(text: str) -> Marker | None:
    """The marker that ``text`` begins with, if any."""
    match = _MARKER.match(text)
    return Marker(_label(match[1]), match.start(), match.end()) if match else None


@lru_cache(maxsize=256)
def _label(written: str) -> Label:
    return cast(Label, written.lower().replace(" ", "").replace("\t", ""))

"""Where a reply ends: at the first marker that the model should have left to others.

A model that goes on behind its call invents what the tool returns. Endpoints end a reply at a stop
text, wherever it stands, so the stop texts begin with a line break: no JSON string holds one, and
an argument or a sentence that mentions ``Observation:`` is left alone. What endpoints return
nevertheless is cut here by the same rule, more exactly: a marker counts at the start of a line and
directly behind the arguments of a call, never inside of a text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from ste_ray.core.replies.markers import Marker, find_markers

OBSERVATION_STOP = ("\nObservation:",)
THOUGHT_STOP = ("\nThought:",)

# A whole JSON string, or else what may end the arguments. A string has no line breaks, and one that
# is never closed is none.
_STRING_OR_WORD = re.compile(r'"(?:[^"\\\n]|\\[^\n])*+"|(?P<word>observation[*_`]*+[:：])', re.I)


def cut_at_stop(text: str, stops: Sequence[str]) -> str:
    """Return ``text`` up to the first marker that ``stops`` name.

    Args:
        text: a reply.
        stops: stop texts of this module; none cut nothing.
    """
    words = {stop.strip(" \n:").lower() for stop in stops}
    lowered = text.lower()
    if not any(word in lowered for word in words):  # nearly always
        return text
    blank = text[: len(text) - len(text.lstrip())]  # any white space, not only a line's own
    kept = _cut(text[len(blank) :], words)
    return blank + kept if kept else ""


def may_be_argument(text: str, stops: Sequence[str]) -> bool:
    """Whether the marker at which an unfinished reply would be cut may yet be part of an argument.

    It stands in a JSON string that is not closed so far: once it is, nothing is cut there.
    """
    # The second quote closes the string where the first one is escaped.
    return any(cut_at_stop(text + end, stops) == text + end for end in ('"', '""'))


def _cut(text: str, words: Collection[str]) -> str:
    markers = find_markers(text)
    # The line break before a marker belongs to the stop text.
    ends = [max(marker.start - 1, 0) for marker in markers if marker.label in words]
    if "observation" in words and (inline := _behind_arguments(text, markers)) is not None:
        ends.append(inline)
    return text[: min(ends)] if ends else text


def _behind_arguments(text: str, markers: Sequence[Marker]) -> int | None:
    """Return where an Observation stands on a line of arguments, outside of their texts."""
    for place, marker in enumerate(markers):
        if marker.label == "finalanswer":
            return None
        if marker.label == "actioninput":
            following = markers[place + 1 :]
            end = following[0].start if following else len(text)
            for match in _STRING_OR_WORD.finditer(text, marker.end, end):
                if match["word"]:
                    return match.start()
    return None

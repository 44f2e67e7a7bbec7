"""Heads of messages that are calls: their parts in the order in which the template writes them.

Where a call is a message of its own, its head says to whom it goes. A model that was trained on
other data than its template's writes the same parts in another order.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ste_ray.core.native_calls.form import CallForm
from ste_ray.core.native_calls.matching import skip_space
from ste_ray.core.replies.strict_json import JSONTextError, decode_value

_MARKER = re.compile(r"<[^<>\s]{1,80}>|\[/?[A-Z_]{2,40}\]")
_NAME = r"(?P<name>[\w.-]{1,128})"
_MAX_HEAD = 300


def in_order(text: str, form: CallForm) -> str:
    """Return a reply with the heads of its calls as the form writes them, all else as it is."""
    head = _head(form)
    if head is None:
        return text
    pattern, address = head
    rest = form.opening[len(form.started) :]
    parts: list[str] = []
    place = 0
    while match := pattern.search(text, place):
        found = address.search(match["head"])
        if found is None:
            parts.append(text[place : match.end()])
            place = match.end()
            continue
        written = f"{match['start']}{rest}{found['name']}{form.gaps[1]}"
        end = _arguments_end(text, match.end())
        parts += [text[place : match.start()], written, text[match.end() : end]]
        place = end
    return "".join([*parts, text[place:]])


def _arguments_end(text: str, place: int) -> int:
    """Return where the arguments behind a head end: heads within them are what they say."""
    try:
        return decode_value(text, skip_space(text, place))[2]
    except JSONTextError:
        return place


def _head(form: CallForm) -> tuple[re.Pattern[str], re.Pattern[str]] | None:
    """Return patterns of a head and of the address in it; None: calls are no messages."""
    address = form.opening[len(form.started) :].strip()
    if not form.started or form.slots != ("name", "arguments") or not address:
        return None
    ends = _MARKER.findall(form.gaps[1])
    return _patterns(form.started, ends[-1], address) if ends else None


@lru_cache(maxsize=32)
def _patterns(starts: str, ends: str, address: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    start, end = re.escape(starts), re.escape(ends)
    head = rf"(?P<start>\A|{start})(?P<head>(?:(?!{start}|{end}).){{0,{_MAX_HEAD}}}){end}"
    return re.compile(head, re.DOTALL), re.compile(re.escape(address) + _NAME)

"""Puts a form together from where its parts stand in a marked call."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ste_ray.chat_tokens.call_forms.differences import overlap
from ste_ray.chat_tokens.call_forms.probes import IDS, KEYS, NAMES, VALUES
from ste_ray.chat_tokens.call_forms.turns import FormError, Outline, Turns
from ste_ray.core.native_calls.form import CallForm, Slot
from ste_ray.core.replies.reasoning import without_opening

ARGUMENTS = {KEYS[0]: VALUES[0]}


@dataclass(frozen=True)
class Span:
    """Where the arguments stand, and how they are written."""

    start: int
    end: int
    kind: str
    quote: str = ""


def slots_before(turns: Turns, found: Outline, span: Span) -> dict[str, tuple[int, int]]:
    """Return where name and id stand before the arguments, which may be written twice."""
    text = found.written
    slots: dict[str, tuple[int, int]] = {"arguments": (span.start, span.end)}
    names = list(re.finditer(NAMES[0], text[: span.start]))
    for number, match in enumerate(one for one in names if one.start() >= found.name):
        slots["name" if number == 0 else f"name {number}"] = match.span()
    start = text.find(IDS[0], found.opens, span.start)
    if start >= 0:
        slots["id"] = (start, start + len(IDS[0]))
    counted = _count(turns, text, max(end for _, end in slots.values() if end <= span.start))
    if counted is not None and counted[1] <= span.start:
        slots["index"] = counted
    return slots


def _count(turns: Turns, text: str, place: int) -> tuple[int, int] | None:
    """Return where a number behind the name stands that counts the calls."""
    number = re.compile(r"\d+").search(text, place)
    if number is None:
        return None
    try:
        two = turns.two(ARGUMENTS, ARGUMENTS)
    except FormError:
        return None
    head = text[place : number.start()]
    second = two.find(NAMES[1], place)
    other = re.compile(re.escape(head) + r"(\d+)").search(two, second) if second >= 0 else None
    counts = other is not None and int(other[1]) == int(number[0]) + 1
    return number.span() if counts else None


def put_together(
    turns: Turns,
    found: Outline,
    where: dict[str, tuple[int, int]],
    whole: tuple[int, int] | None,
    **fields: Any,
) -> CallForm:
    """Return the form of a marked call.

    Args:
        turns: of the template.
        found: the marked call.
        where: slot -> where it stands; further names are ``name 1`` and so on.
        whole: where the call stands; None: from its first slot to its last.
        fields: of the form, what its slots do not say.
    """
    text = found.written
    ordered = sorted(where.items(), key=lambda item: item[1])
    start, end = whole or (ordered[0][1][0], ordered[-1][1][1])
    gaps, place = [], start
    for _, (begin, stop) in ordered:
        gaps.append(text[place:begin])
        place = stop
    gaps.append(text[place:end])
    opening, closing = text[found.opens : start], text[end : found.closes]
    closing = _closing_of_two(turns, text[:end], found.tail, closing)
    between = _between(turns, text[:end], gaps[0], ordered[0][0])
    started = overlap(without_opening(turns.prompt), opening)
    bare = not any(char.isalnum() for char in opening)
    first = text[slice(*where["index"])] if "index" in where else "0"
    return CallForm(
        opening=opening,
        started=started if any(char.isalnum() for char in started) else "",
        between=between if between is not None else "" if bare else closing + opening,
        closing=closing,
        end_of_turn=found.tail,
        parallel=between is not None,
        slots=tuple(_slot(name) for name, _ in ordered),
        gaps=tuple(gaps),
        keeps_text=found.keeps_text,
        first_index=int(first),
        **fields,
    )


def _closing_of_two(turns: Turns, first: str, tail: str, closing: str) -> str:
    """Return what stands behind the last of two calls, where that closes more than one call does.

    Some templates close nothing but several calls; models close one too, as they were taught.
    """
    try:
        two = turns.two(ARGUMENTS, {KEYS[1]: VALUES[1]})
    except FormError:
        return closing
    ends = first.rpartition(VALUES[0])[2] + closing
    written = two.rpartition(VALUES[1])[2]
    written = written.removesuffix(tail) if tail.strip() else written
    return closing + written.removeprefix(ends) if written.startswith(ends) else closing


def _slot(name: str) -> Slot:
    slot: Slot = "name"
    if name in ("id", "index", "arguments"):
        slot = name  # type: ignore[assignment]
    return slot


def _between(turns: Turns, first: str, gap: str, slot: str) -> str | None:
    """Return what stands between two calls; None: they are not written together."""
    try:
        two = turns.two(ARGUMENTS, {KEYS[1]: VALUES[1]})
    except FormError:
        return None
    mark = {"name": NAMES[1], "id": IDS[1], "index": "1"}.get(slot, NAMES[1])
    place = two.find(gap + mark, len(first))
    if not two.startswith(first) or place < 0 or VALUES[1] not in two[place:]:
        return None
    return two[len(first) : place]

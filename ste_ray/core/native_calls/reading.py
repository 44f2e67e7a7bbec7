"""Reads a reply in the form in which a chat template writes calls.

Strict and total: every text gives a result, in linear time. What the form writes must stand there,
white space apart; a call is never guessed. JSON is read as JSON, so a text in it may hold anything,
also what ends a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ste_ray.core.native_calls.call_reading import CallError, read_call
from ste_ray.core.native_calls.form import CallForm, NativeReply, WrittenCall
from ste_ray.core.native_calls.heads import in_order
from ste_ray.core.native_calls.matching import after, is_cut, pattern_of, skip_space
from ste_ray.core.replies.reasoning import separate
from ste_ray.core.replies.strict_json import clip

_MAX_CALLS = 128
_MAX_PLACES = 8  # where an opening stands that a text may only speak of


@dataclass(frozen=True, slots=True)
class _Calls:
    """Calls that were read, where they end, and what was wrong."""

    calls: tuple[WrittenCall, ...]
    end: int
    problem: str


def read_reply(
    text: str,
    form: CallForm,
    schemas: Mapping[str, Any] | None = None,
    *,
    opened: bool = False,
) -> NativeReply:
    """Read what a model wrote.

    Args:
        text: with the tokens that the form writes, without the prompt.
        form: of the model's template.
        schemas: tool -> JSON Schema of its arguments, which tells texts from numbers in forms that
            write both alike; without one, what looks like JSON is taken for it.
        opened: whether the prompt ended in a tag that opens reasoning.
    """
    schemas = schemas or {}
    text = in_order(text, form)
    plain = _calls_first(text, form, schemas, opened)
    if plain is not None:
        return plain
    behind = _behind_reasoning(text, form)
    thought = separate(text[:behind], opened) if behind else separate(text, opened)
    body = thought.content + text[behind:] if behind else thought.content
    found = _found(body, form, schemas)
    if found is None:
        content = _end_cut(body, form)
        return NativeReply(content=content, reasoning=thought.reasoning, unclosed=thought.unclosed)
    start, read = found
    after_calls = _end_cut(body[read.end :], form) if not read.problem else ""
    return NativeReply(
        content=body[:start].strip(),
        calls=read.calls,
        problem=read.problem,
        after=after_calls.strip(),
        reasoning=thought.reasoning,
        unclosed=thought.unclosed and not behind,
    )


def _calls_first(
    text: str, form: CallForm, schemas: Mapping[str, Any], opened: bool
) -> NativeReply | None:
    """Read a reply whose first call stands outside of its reasoning; None: it is another.

    So a tag of reasoning in an argument is part of the argument.
    """
    found = _found(text, form, schemas)
    if found is None or found[1].problem:
        return None
    start, read = found
    before, behind = separate(text[:start], opened), text[read.end :]
    in_reasoning = before.unclosed and not form.started
    if in_reasoning or separate(behind).content.strip() != behind.strip():
        return None
    return NativeReply(
        content=before.content.strip(),
        calls=read.calls,
        after=_end_cut(behind, form).strip(),
        reasoning=before.reasoning,
    )


def _behind_reasoning(text: str, form: CallForm) -> int:
    """Return where a call begins that is a message of its own; 0: nowhere.

    Such a call stands behind the reasoning even if nothing else closes that.
    """
    if not form.started:
        return 0
    found = pattern_of(form.opening).search(text)
    return found.start() if found else 0


def _end_cut(text: str, form: CallForm) -> str:
    return text.partition(form.end_mark)[0] if form.end_mark else text


def _found(body: str, form: CallForm, schemas: Mapping[str, Any]) -> tuple[int, _Calls] | None:
    """Return where calls begin and what was read there; None: the reply calls nothing."""
    if form.is_bare:
        return _bare(body, form, schemas)
    first: tuple[int, _Calls] | None = None
    for start, place in _places(body, form):
        read = _read_all(body, place, form, schemas)
        if not read.problem:
            return start, read
        first = first or (start, read)
    return first


def _places(body: str, form: CallForm) -> list[tuple[int, int]]:
    """Return where openings begin and end, the first of them."""
    found = []
    if form.started:
        end = after(form.opening[len(form.started) :], body, 0)
        found = [(0, end)] if end is not None else []
    for match in pattern_of(form.opening).finditer(body):
        found.append((match.start(), match.end()))
        if len(found) > _MAX_PLACES:
            break
    return found


def _bare(body: str, form: CallForm, schemas: Mapping[str, Any]) -> tuple[int, _Calls] | None:
    """Read a reply that calls if it begins with a call, and is an answer if not."""
    place = after(form.opening, body, 0)
    place = None if place is None else skip_space(body, place)
    if place is None or not body.startswith("{", place):
        return None
    read = _read_all(body, place, form, schemas)
    if not read.problem or read.calls:
        return 0, read
    keys = [path[-1] for path in (form.name_path, form.arguments_path) if path]
    meant = bool(keys) and all(f'"{key}"' in body for key in keys)
    return (0, read) if meant else None


def _read_all(body: str, place: int, form: CallForm, schemas: Mapping[str, Any]) -> _Calls:
    calls: list[WrittenCall] = []
    while len(calls) < _MAX_CALLS:
        try:
            call, place = read_call(body, place, form, schemas)
        except CallError as error:
            return _Calls(tuple(calls), place, f"call {len(calls) + 1}: {error}")
        calls.append(call)
        following = _next_call(body, place, form)
        if following is None:
            return _closed(calls, body, place, form)
        place = following
    return _Calls(tuple(calls), place, f"it holds more than {_MAX_CALLS} calls")


def _next_call(body: str, place: int, form: CallForm) -> int | None:
    """Return where the next call begins; None: there is none."""
    following = after(form.between, body, place) if form.parallel else None
    if following is not None and _begins(body, following, form):
        return following
    closed = after(form.closing, body, place)
    if closed is None or form.is_bare:
        return None
    following = after(form.opening, body, closed)
    return following if following is not None and _begins(body, following, form) else None


def _begins(body: str, place: int, form: CallForm) -> bool:
    return not form.is_object or body.startswith("{", skip_space(body, place))


def _closed(calls: list[WrittenCall], body: str, place: int, form: CallForm) -> _Calls:
    end = after(form.closing, body, place)
    if end is not None:
        return _Calls(tuple(calls), end, "")
    # A closing may hold the token that ends a reply, which is not part of what is decoded.
    if is_cut(form.closing, body, place):
        return _Calls(tuple(calls), len(body), "")
    if form.end_mark and body.startswith(form.end_mark, skip_space(body, place)):
        return _Calls(tuple(calls), place, "")
    near = clip(body[place : place + 40].strip())
    wanted = clip(form.closing.strip()) if form.closing.strip() else "the end of the reply"
    problem = f"call {len(calls)}: {near} stands behind it, where {wanted} should"
    return _Calls(tuple(calls), place, problem)

"""Keeps secrets out of texts that are stored, logged, raised or shown to a model: one way for all.

A secret is looked for as it is, in any case of its letters, and in what the text says when escape
sequences, base64 and hexadecimal are undone (``core.texts.encodings``), several times over. A text
may have been cut before it came here: a large part of a secret is found too, and a smaller one
where a cut is seen. Mask the whole of a text first, and cut it afterwards.

What is not found: forms that a program made up (reversed, encrypted, compressed), pieces of less
than half a secret that no cut explains, and values of fewer than ``MIN_CHARS`` characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ste_ray.core.texts.encodings import (
    View,
    may_be_packed,
    may_be_text,
    narrowed,
    numbered,
    packed_views,
    squeeze,
    squeezed,
    unescaped,
)

MIN_CHARS = 4  # shorter values cannot be told from ordinary text
_MAX_UNESCAPED = 8  # times; JSON within JSON is two, and takes two more for its escapes
_MAX_DEPTH = 2  # of encodings within encodings
_MIN_PART = 8  # characters of a part that is found where a cut is seen
_MIN_ANYWHERE = 10  # and of one that is found anywhere
_TEXT_RUN = 20
_MAX_PLACEHOLDER = 20
_CUT_MARK = re.compile(
    rb"['\"]?\s*(?:\.\.\.|\xe2\x80\xa6|[\[(<]\s*(?:cut|trunc|snip|\.\.|more)|\*\*\*)"
)
_WORDY = re.compile(r"\w")
_SHORT_WORD = re.compile(rb"[a-z]+-?")


class _Span(NamedTuple):
    start: int
    end: int
    mark: str


@dataclass(frozen=True)
class _Form:
    """One way in which a secret can stand in a view, in lower case.

    Attributes:
        text: the whole of it.
        mark: what replaces it.
        head: the beginning by which it is noticed.
        tail: the end by which it is noticed where its beginning was cut off; empty: it is not.
    """

    text: bytes
    mark: str
    head: bytes
    tail: bytes

    @classmethod
    def of(cls, text: bytes, mark: str) -> _Form:
        num = len(text)
        part = max(_MIN_ANYWHERE, -(-num // 2))
        return cls(text, mark, text[: least_part(num)], text[-part:] if part < num else b"")


def least_part(num_chars: int) -> int:
    """Return how many characters at a cut are taken for a part of a secret of ``num_chars``."""
    return min(num_chars, max(MIN_CHARS, min(_MIN_PART, num_chars // 3)))


def is_placeholder(key: str) -> bool:
    """Whether a key is a word such as ``none`` or ``not-needed``, which texts hold by chance.

    Keys that prove anything are longer, or have digits.
    """
    key = key.strip()
    return len(key) < _MIN_PART or (len(key) < _MAX_PLACEHOLDER and not re.search("[0-9]", key))


class Masker:
    """Replaces secrets in texts; made once for a set of them, and safe to share.

    Args:
        marks: value -> what is shown in its place. Values of fewer than ``MIN_CHARS`` characters
            are left out.
    """

    def __init__(self, marks: Mapping[str, str]) -> None:
        usable = {value: mark for value, mark in marks.items() if len(value) >= MIN_CHARS}
        self._forms = _forms(usable)
        tight = {squeeze(one.text): one.mark for one in self._forms}
        self._tight_forms = tuple(
            # Whole ones only: what is left of words beside it looks like more of it.
            _Form(text, mark, text, b"")
            for text, mark in tight.items()
            if len(text) >= _MIN_PART
        )
        self._shortest = min((len(one.text) for one in self._forms), default=0)  # bytes
        self._text_run = max(_MIN_PART, min(_TEXT_RUN, self._shortest))
        self.longest = max(map(len, usable), default=0)  # characters of the longest value

    def __bool__(self) -> bool:
        return bool(self._forms)

    def mask(self, text: str, cut: bool = False) -> str:
        """Return ``text`` with marks in place of the secrets in it.

        Args:
            text: the whole of it, as far as it is known.
            cut: whether it is known to have been cut at its end; even a character or two that may
                begin a secret are dropped there.
        """
        if not self._forms or len(text) < 2:
            return text
        data = text.encode("utf-8", "surrogatepass")
        spans = _merged(self._scan(data))
        dropped = self._dropped(data, spans) if cut else len(data)
        if not spans and dropped == len(data):
            return text
        parts, done = [], 0
        for span in spans:
            parts += [data[done : span.start].decode("utf-8", "surrogatepass"), span.mark]
            done = span.end
        return "".join([*parts, data[done:dropped].decode("utf-8", "surrogatepass")])

    def _scan(self, data: bytes) -> list[_Span]:
        """Find the secrets in ``data`` and in what it says once escape sequences are undone."""
        return list(self._search(data, _MAX_UNESCAPED, _MAX_DEPTH))

    def _search(self, data: bytes, unescapes: int, depth: int) -> Iterator[_Span]:
        yield from _found(data.lower(), self._forms)
        view = unescaped(data) if unescapes else None
        if view is not None:
            yield from _located(view, self._search(view.data, unescapes - 1, depth))
            return
        tight = squeezed(data)
        yield from _located(tight, _found(tight.data.lower(), self._tight_forms))
        for listed in numbered(data):
            yield from _located(listed, _found(listed.data.lower(), self._forms))
        if not may_be_packed(data, self._shortest):
            return
        views = list(packed_views(data))
        # All at once: usually there is nothing, and then this is all that is done.
        noise = b"\0".join([view.data for view in views])
        low = noise.lower()
        if self._has_form(low):
            for view in views:
                yield from _located(view, _found(view.data.lower(), self._forms))
        for view in views:
            if depth and may_be_text(view.data, self._text_run):
                yield from _located(view, self._search(view.data, _MAX_UNESCAPED, depth - 1))
                narrow = narrowed(view.data)
                if narrow is not None:
                    inner = self._search(narrow.data, _MAX_UNESCAPED, depth - 1)
                    yield from _located(view, _located(narrow, inner))

    def _has_form(self, low: bytes) -> bool:
        return any(one.head in low or (one.tail and one.tail in low) for one in self._forms)

    def _dropped(self, data: bytes, spans: list[_Span]) -> int:
        """Return where a cut text ends without what may be the first characters of a secret."""
        if spans and spans[-1].end == len(data):
            return len(data)
        low = data.lower()
        longest = max(
            (
                num
                for form in self._forms
                for num in range(1, min(len(form.head), len(data)))
                if low.endswith(form.head[:num])
            ),
            default=0,
        )
        return len(data) - longest


def _forms(marks: Mapping[str, str]) -> tuple[_Form, ...]:
    known: dict[bytes, str] = {}
    for value, mark in marks.items():
        for text in {value, value.strip()}:
            for form in _variants(text):
                known.setdefault(form, mark)
    return tuple(_Form.of(text, mark) for text, mark in known.items())


def _variants(value: str) -> Iterator[bytes]:
    """Yield a value as it may stand in a view: cases, encodings of characters, and unescaped."""
    if len(value) < MIN_CHARS:
        return
    cases = {value, value.lower(), value.upper(), value.casefold()}
    for text in {*cases, *(one.replace(" ", "+") for one in cases)}:
        yield text.encode("utf-8", "surrogatepass").lower()
    if not value.isascii():
        yield value.encode("latin-1", "replace").lower()
        yield value.encode("utf-16-le", "surrogatepass").lower()
    # A secret that looks escaped itself: a view of it does not.
    view = unescaped(value.encode("utf-8", "surrogatepass"))
    if view is not None:
        plain = view.data.decode("utf-8", "replace")
        if len(_WORDY.findall(plain)) >= MIN_CHARS and plain != value:
            yield from _variants(plain)


def _found(low: bytes, forms: Iterable[_Form]) -> Iterator[_Span]:
    """Yield where forms, or telling parts of them, stand in a lower-case text."""
    for form in forms:
        if form.head in low:
            yield from _from_head(low, form)
        if form.tail and form.tail in low:
            yield from _from_tail(low, form)


def _from_head(low: bytes, form: _Form) -> Iterator[_Span]:
    place = low.find(form.head)
    while place >= 0:
        end = place + _num_common(low[place : place + len(form.text)], form.text)
        if _tells(low, place, end, len(form.text)):
            yield _Span(place, end, form.mark)
            place = low.find(form.head, end)
        else:
            place = low.find(form.head, place + 1)


def _from_tail(low: bytes, form: _Form) -> Iterator[_Span]:
    end = 0
    while (place := low.find(form.tail, end)) >= 0:
        end = place + len(form.tail)
        before = low[max(0, end - len(form.text)) : end]
        yield _Span(end - _num_common(before[::-1], form.text[::-1]), end, form.mark)


def _tells(low: bytes, start: int, end: int, num_all: int) -> bool:
    """Whether a beginning of a form that stands here gives it away, or was cut here."""
    num = end - start
    if num == num_all or (num >= _MIN_ANYWHERE and 2 * num >= num_all):
        return True
    if end == len(low):
        # Many texts end in a word by which a key such as ``token-1234`` begins.
        return num >= _MIN_PART or not _SHORT_WORD.fullmatch(low, start, end)
    return _CUT_MARK.match(low, end) is not None


def _num_common(one: bytes, other: bytes) -> int:
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))


def _located(view: View, spans: Iterable[_Span]) -> Iterator[_Span]:
    for span in spans:
        start, end = view.locate(span.start, span.end)
        yield _Span(start, end, span.mark)


def _merged(spans: list[_Span]) -> list[_Span]:
    """Return spans in order, those that overlap made one with the mark of the longest."""
    merged: list[_Span] = []
    widest = 0  # of the parts of the last one
    for span in sorted(spans):
        num = span.end - span.start
        if not merged or span.start >= merged[-1].end:
            merged.append(span)
            widest = num
            continue
        last = merged[-1]
        mark = span.mark if num > widest else last.mark
        merged[-1] = _Span(last.start, max(last.end, span.end), mark)
        widest = max(widest, num)
    return merged

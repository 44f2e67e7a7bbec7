"""Finds values in a text, and turns what is said into the forms that an argument may have."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ste_ray.simulated_provider.teacher.dates import moment_forms, read_date, written_dates
from ste_ray.simulated_provider.teacher.entities import EntityType, Row
from ste_ray.simulated_provider.teacher.loading import compiled, data, pattern
from ste_ray.simulated_provider.teacher.schema import Parameter

_CODES = (0, 1, 2, 3, 4, 5)  # what an undocumented number may be
_SHORT = 4  # shorter codes are recognised only with their own capitals
_MAX_TEXTS = 4096
_WORD = re.compile(r"A+a+|A{5,}")
_BACKWARDS = re.compile(r" \w+ (?:before|earlier|back|ago)\b")
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Value:
    """A value: as it is ``said`` in a request, and its ``forms`` in an argument, likely first."""

    said: str
    forms: tuple[Any, ...]

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """All that the value is called, in small letters."""
        return frozenset(str(form).casefold() for form in (self.said, *self.forms))


@dataclass(frozen=True)
class Mention:
    """A value found in a text."""

    start: int
    end: int
    value: Value

    def overlaps(self, other: Mention) -> bool:
        """Whether two mentions share a character."""
        return self.start < other.end and other.start < self.end


@functools.lru_cache(maxsize=_MAX_TEXTS)  # a request is searched in each turn that answers it
def find(text: str, parameter: Parameter) -> tuple[Mention, ...]:
    """Return the values in ``text`` that may be meant for ``parameter``, as its arguments."""
    if parameter.entity.name == "choice":
        return tuple(_find_choices(text, parameter))
    if parameter.entity.name == "flag":
        phrase = parameter.flag_phrase
        start = text.casefold().find(phrase.casefold()) if phrase else -1
        return (Mention(start, start + len(phrase), Value(phrase, (True,))),) if start >= 0 else ()
    found = [
        Mention(start, end, value_of(text[start:end], parameter, row, text[end:]))
        for start, end, row in _places(parameter.entity, text)
    ]
    return tuple(item for item in found if item.value.forms)


def _find_choices(text: str, parameter: Parameter) -> Iterator[Mention]:
    for option in sorted(parameter.options, key=lambda item: -len(str(item))):
        said = re.escape(str(option)).replace("_", "[_ ]")
        for match in re.finditer(rf"(?<![\w.-]){said}(?![\w-])", text, re.IGNORECASE):
            yield Mention(*match.span(), Value(match[0], (option,)))


@functools.lru_cache(maxsize=_MAX_TEXTS)
def _places(entity: EntityType, text: str) -> list[tuple[int, int, Row]]:
    """Return start, end and table row of each value: those of the table first, longest first."""
    folded = text.lower()
    places = [
        (*match.span(), row)
        for form, row in entity.rows.items()
        if form.lower() in folded and form not in entity.excluded
        for match in _form_pattern(form).finditer(text)
    ]
    places.sort(key=lambda place: place[0] - place[1])
    if entity.pattern:  # a name that the table lacks is still a name
        matches = compiled(entity.pattern).finditer(text)
        places += [(*match.span(), ()) for match in matches if match[0] not in entity.excluded]
    kept: list[tuple[int, int, Row]] = []
    for start, end, row in places:
        if not any(start < other_end and other < end for other, other_end, _ in kept):
            kept.append((start, end, row))
    return kept


@functools.cache
def _form_pattern(form: str) -> re.Pattern[str]:
    flags = 0 if len(form) < _SHORT else re.IGNORECASE
    return re.compile(rf"(?<![\w/-]){re.escape(form)}(?![\w/])", flags)


def whole_values(text: str, parameter: Parameter) -> list[Value]:
    """Return the values for ``parameter`` that are all of ``text``."""
    found = find(text, parameter)
    return [item.value for item in found if item.end - item.start == len(text)]


def names_another(text: str, value: Value, parameter: Parameter) -> bool:
    """Whether all of ``text`` is the name of a value for ``parameter``, and not of ``value``."""
    whole = whole_values(text, parameter)
    return bool(whole) and not any(value.names & item.names for item in whole)


def value_of(said: str, parameter: Parameter, row: Row = (), after: str = "") -> Value:
    """Return what is said as a value, with the forms that an argument may have.

    Args:
        said: as it stands in a text.
        parameter: that takes the argument; its description tells which form is likeliest.
        row: of the table, if it stands there.
        after: what follows in the text; "10 days before" counts backwards.
    """
    entity = parameter.entity
    forms: tuple[Any, ...]
    if row:
        codes = documented_forms(row, parameter)
        forms = (said, *row) if said in codes or not codes else (*codes, said, *row)
        if entity.coded and parameter.type == "integer":
            forms = (*forms, *_CODES)  # nothing tells which number stands for what
    elif entity.reads in ("number", "count"):
        is_negative = entity.reads == "count" and _BACKWARDS.match(after)
        forms = _numbers(f"-{said}" if is_negative else said, parameter)
    elif entity.reads == "moment":
        forms = moment_forms(said)
    elif entity.reads.endswith("date"):
        day = read_date(said)
        ways = written_dates(day, "forms") if day else ()
        ways = ways if entity.reads == "date" else ways[:1]
        forms = (*ways[:1], said, *ways) if _documents_iso(parameter) else (said, *ways)
    else:
        plain = said.strip('"')
        forms = (plain, *(compiled(old).sub(new, plain) for old, new in entity.forms))
    return Value(said, tuple(dict.fromkeys(forms)))


def _numbers(said: str, parameter: Parameter) -> tuple[Any, ...]:
    plain = said.replace(",", "")
    if parameter.type == "string":
        return said, plain
    if "." not in plain:
        return (int(plain),)
    return (float(plain),) if parameter.type == "number" else ()


def _documents_iso(parameter: Parameter) -> bool:
    text = f"{parameter.description} {parameter.schema.get('pattern', '')}"
    is_date = parameter.schema.get("format") == "date" or any(
        map(_ISO_DATE.match, parameter.examples)
    )
    return is_date or bool(pattern("descriptions", "iso dates").search(text))


def documented_forms(row: Row, parameter: Parameter) -> list[str]:
    """Return the forms in a table's row that look as the description or an example shows."""
    shapes = _documented_shapes(parameter)
    return [form for form in row if shape(form) in shapes]


@functools.lru_cache(maxsize=_MAX_TEXTS)
def _documented_shapes(parameter: Parameter) -> frozenset[str]:
    shapes = {shape(example) for example in parameter.examples}
    for words, marks in data("descriptions")["shapes"]:
        if compiled(words, re.IGNORECASE).search(parameter.description):
            shapes.add(marks)
    return frozenset(shapes)


def shape(value: Any) -> str:
    """Return the shape of a value: A for capitals, a for small letters, 9 for digits.

    Runs of the same kind count once, except in short codes, whose length matters.
    """
    return _shape(str(value))


@functools.lru_cache(maxsize=_MAX_TEXTS)  # by text: 1, 1.0 and true are one to a cache
def _shape(text: str) -> str:
    marks = re.sub(r"\d", "9", re.sub("[a-zà-ÿ]", "a", re.sub("[A-ZÀ-Ý]", "A", text)))
    if len(text) <= _SHORT and text.isalpha():
        return marks
    return _WORD.sub("W", re.sub("9+", "9", re.sub("a+", "a", marks)))

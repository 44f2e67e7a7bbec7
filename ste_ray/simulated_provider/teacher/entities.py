"""Types of values, and how they are found in a text and turned into arguments.

What the types are stands in ``data/entities.yaml``; the codes of named things in
``data/tables.yaml``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ste_ray.simulated_provider.teacher import dates
from ste_ray.simulated_provider.teacher.loading import compiled, data, pattern
from ste_ray.simulated_provider.teacher.schema import Parameter

_CODES = (0, 1, 2, 3, 4, 5)  # what an undocumented number may be
_SHORT = 4  # shorter codes are recognised only with their own capitals
_MAX_TEXTS = 4096
_WORD = re.compile(r"A+a+|A{5,}")
_Row = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class EntityType:
    """A type of value; ``data/entities.yaml`` says what the fields are."""

    name: str
    described_as: str = ""
    types: Sequence[str] = ("string",)
    nouns: Sequence[str] = ()
    pattern: str = ""
    excluded: Sequence[str] = ()
    forms: Sequence[tuple[str, str]] = ()
    reads: str = "text"
    table: str = ""
    templates: Sequence[str] = ()
    range: Sequence[int] = ()
    mistakes: Sequence[str] = ()
    typos: float = 0
    grouped: float = 0
    spread: float = 0
    phrases: Sequence[str] = ()
    placed: Sequence[str] = ("the {n} {v}", "{n} {v}")
    vague: bool = False
    free: bool = False
    coded: bool = False

    @functools.cached_property
    def rows(self) -> dict[str, _Row]:
        """Each form in its table, with the first row that it stands in."""
        rows = [row for _, rows in table_groups(self.table) for row in rows]
        return {form: row for row in reversed(rows) for form in row}


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


@functools.cache
def entity_types() -> dict[str, EntityType]:
    """Return all types by name, in the order in which they are looked for."""
    return {row["name"]: EntityType(**row) for row in data("entities")}


@functools.cache
def table_groups(name: str) -> tuple[tuple[str, tuple[_Row, ...]], ...]:
    """Return the groups of a table: what each is about, and its rows."""
    listed: list[Any] = data("tables")[name] if name else []
    grouped = bool(listed) and isinstance(listed[0], dict)
    groups: list[dict[str, Any]] = listed if grouped else [{"rows": listed}]
    return tuple((group.get("about", ""), tuple(map(tuple, group["rows"]))) for group in groups)


@functools.lru_cache(maxsize=_MAX_TEXTS)  # a request is searched in each turn that answers it
def find(entity: EntityType, text: str, parameter: Parameter) -> tuple[Mention, ...]:
    """Return the values of a type in ``text``, as arguments for ``parameter``."""
    if entity.name == "choice":
        return tuple(_find_choices(text, parameter))
    if entity.name == "flag":
        phrase = flag_phrase(parameter)
        start = text.casefold().find(phrase.casefold()) if phrase else -1
        return (Mention(start, start + len(phrase), Value(phrase, (True,))),) if start >= 0 else ()
    found = [
        Mention(start, end, value_of(entity, text[start:end], parameter, row, text[end:]))
        for start, end, row in _places(entity, text)
    ]
    return tuple(item for item in found if item.value.forms)


def _find_choices(text: str, parameter: Parameter) -> Iterator[Mention]:
    for option in sorted(parameter.options, key=lambda item: -len(str(item))):
        said = re.escape(str(option)).replace("_", "[_ ]")
        for match in re.finditer(rf"(?<![\w.-]){said}(?![\w-])", text, re.IGNORECASE):
            yield Mention(*match.span(), Value(match[0], (option,)))


@functools.lru_cache(maxsize=_MAX_TEXTS)
def _places(entity: EntityType, text: str) -> list[tuple[int, int, _Row]]:
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
    kept: list[tuple[int, int, _Row]] = []
    for start, end, row in places:
        if not any(start < other_end and other < end for other, other_end, _ in kept):
            kept.append((start, end, row))
    return kept


@functools.cache
def _form_pattern(form: str) -> re.Pattern[str]:
    flags = 0 if len(form) < _SHORT else re.IGNORECASE
    return re.compile(rf"(?<![\w/-]){re.escape(form)}(?![\w/])", flags)


def value_of(
    entity: EntityType, said: str, parameter: Parameter, row: _Row = (), after: str = ""
) -> Value:
    """Return what is said as a value, with the forms that an argument may have.

    Args:
        entity: the type of the value.
        said: as it stands in a text.
        parameter: that takes the argument; its description tells which form is likeliest.
        row: of the type's table, if it stands there.
        after: what follows in the text; "10 days before" counts backwards.
    """
    forms: tuple[Any, ...]
    if row:
        codes = documented_forms(row, parameter)
        forms = (said, *row) if said in codes or not codes else (*codes, said, *row)
        if entity.coded and parameter.type == "integer":
            forms = (*forms, *_CODES)  # nothing tells which number stands for what
    elif entity.reads in ("number", "count"):
        backwards = entity.reads == "count" and re.match(
            r" \w+ (?:before|earlier|back|ago)\b", after
        )
        forms = _numbers(f"-{said}" if backwards else said, parameter)
    elif entity.reads == "moment":
        forms = dates.moment_forms(said)
    elif entity.reads.endswith("date"):
        day = dates.read_date(said)
        ways = dates.date_forms(day)[: None if entity.reads == "date" else 1] if day else ()
        forms = (*ways[:1], said, *ways) if _documents_iso(parameter) else (said, *ways)
    else:
        forms = (said, *(compiled(old).sub(new, said) for old, new in entity.forms))
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
    dated = any(re.fullmatch(r"\d{4}-\d{2}-\d{2}", example) for example in parameter.examples)
    as_date = parameter.schema.get("format") == "date"
    return dated or as_date or bool(pattern("descriptions", "iso dates").search(text))


def documented_forms(row: _Row, parameter: Parameter) -> list[str]:
    """Return the forms in a table's row that look as the description or an example shows."""
    shapes = _documented_shapes(parameter)
    return [form for form in row if shape(form) in shapes]


@functools.lru_cache(maxsize=_MAX_TEXTS)
def _documented_shapes(parameter: Parameter) -> frozenset[str]:
    described = data("descriptions")["shapes"]
    shapes = {
        marks for words, marks in described if compiled(words, re.I).search(parameter.description)
    }
    return frozenset(shapes | {shape(example) for example in parameter.examples})


@functools.lru_cache(maxsize=_MAX_TEXTS)
def shape(value: Any) -> str:
    """Return the shape of a value: A for capitals, a for small letters, 9 for digits.

    Runs of the same kind count once, except in short codes, whose length matters.
    """
    text = str(value)
    marks = re.sub(r"\d", "9", re.sub("[a-zà-ÿ]", "a", re.sub("[A-ZÀ-Ý]", "A", text)))
    if len(text) <= _SHORT and text.isalpha():
        return marks
    return _WORD.sub("W", re.sub("9+", "9", re.sub("a+", "a", marks)))


def flag_phrase(parameter: Parameter) -> str:
    """Return what a flag asks for, as words for a request: "include digits"."""
    described = pattern("descriptions", "flag openings").sub("", parameter.description)
    first = re.split(r"[.,;:(]", described)[0].strip()
    return first[:1].lower() + first[1:]

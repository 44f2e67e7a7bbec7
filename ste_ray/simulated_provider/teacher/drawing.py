"""Draws values for a request: from tables, records and templates, as ``data/*.yaml`` have them."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import random
import re

from ste_ray.simulated_provider.teacher.dates import written_dates
from ste_ray.simulated_provider.teacher.entities import EntityType, Row, table_groups
from ste_ray.simulated_provider.teacher.loading import data, pattern
from ste_ray.simulated_provider.teacher.mentions import Value, documented_forms, value_of
from ste_ray.simulated_provider.teacher.schema import Parameter

_MISTAKES = 0.07  # how often a person brings a value that cannot be right
_NAMES = 0.25  # how often a person says the name where a code is documented
_PART = re.compile(r"\{([^}]*)\}|[#%]")
_CHARACTERS = {"#": "0123456789", "%": "BDFGKQVWXZ"}
_SIZES = (100, 1000, 1000, 10_000, 10_000, 100_000)  # of numbers: small ones are likelier
_BACKWARDS = 0.3  # share of the counts that go back, where they may
_WHOLE = 0.6  # share of the decimal numbers that are whole
_TRIES = 100  # until a number has a check digit


class Scene:
    """What the values of one request have in common: they belong together, and differ.

    Args:
        rng: decides everything.
        topic: what the tool says about itself.
        wanted: names of the types that the request needs.
    """

    def __init__(
        self, rng: random.Random, topic: str, wanted: frozenset[str] = frozenset()
    ) -> None:
        self.rng = rng
        self.topic = topic.lower()
        self.wanted = wanted
        self._records: dict[str, dict[str, str]] = {}
        self._groups: dict[str, tuple[Row, ...]] = {}
        self._used: set[tuple[str, str]] = set()

    def field(self, entity: EntityType) -> str | None:
        """Return the value that the record of this request has for a type, if there is one.

        A type that can be drawn by itself is taken from a record only beside another field of it.
        """
        alone = bool(entity.table or entity.templates)
        for name, fields in _record_fields().items():
            if entity.name in fields and not (alone and len(self.wanted & fields.keys()) < 2):
                value = self._records.get(name, {}).get(entity.name)
                if value is None or (entity.name, value) in self._used:
                    self._records[name] = _record(name, self.rng)
                    value = self._records[name][entity.name]
                self._used.add((entity.name, value))
                return value
        return None

    def row(self, entity: EntityType) -> Row:
        """Return a row of the type's table that was not used yet."""
        if entity.table not in self._groups or self.rng.random() < _MISTAKES:  # a mix-up
            groups = table_groups(entity.table)
            about = [rows for topic, rows in groups if topic and topic in self.topic]
            others = [rows for topic, rows in groups if not topic]
            self._groups[entity.table] = self.rng.choice(about or others)
        rows = self._groups[entity.table]
        left = [row for row in rows if (entity.name, row[0]) not in self._used] or rows
        row = self.rng.choice(left)
        self._used.add((entity.name, row[0]))
        return row


@functools.cache
def _record_fields() -> dict[str, dict[str, str]]:
    """Return the fields of each record, in the order in which they are written out."""
    records = data("records").items()
    fields = {name: {key: "" for row in rows for key in row} for name, rows in records}
    fields["bank account"]["iban"] = ""  # made of the others
    return fields


def _record(name: str, rng: random.Random) -> dict[str, str]:
    """Return a record with one of the templates of each field written out."""
    row = _record_fields()[name] | rng.choice(data("records")[name])
    options = {key: item if isinstance(item, list) else [item] for key, item in row.items()}
    made = {key: written(rng.choice(listed), rng) for key, listed in options.items()}
    if "iban" in made:
        made["iban"] = _iban(made["country"], made["bank"] + made["branch"] + made["account"])
    return made


def draw(parameter: Parameter, scene: Scene) -> Value:
    """Draw a value for ``parameter``; where nothing is said, there is none."""
    rng, entity = scene.rng, parameter.entity
    if entity.name == "choice":
        option = rng.choice(parameter.options)
        return Value(str(option).replace("_", " "), (option,))
    if entity.name == "flag":
        return Value(parameter.flag_phrase, (True,))
    if entity.mistakes and rng.random() < _MISTAKES:
        return value_of(written(rng.choice(entity.mistakes), rng), parameter)
    said = scene.field(entity)
    if entity.table:
        row = entity.rows.get(said or "") or scene.row(entity)
        codes = [form for form in documented_forms(row, parameter) if form not in entity.excluded]
        said = codes[-1] if codes and rng.random() >= _NAMES else row[0]
        return value_of(said, parameter, row)
    if said is None:
        said = _made(parameter, scene)
    negative = pattern("descriptions", "negative").search(parameter.description)
    backwards = entity.reads == "count" and negative and rng.random() < _BACKWARDS
    after = " days before" if backwards else ""
    return value_of(_altered(said, entity, rng), parameter, after=after)


def _made(parameter: Parameter, scene: Scene) -> str:
    rng, entity = scene.rng, parameter.entity
    if entity.templates:
        is_word = pattern("descriptions", "word only").search(parameter.description)
        return written(entity.templates[0] if is_word else rng.choice(entity.templates), rng)
    if entity.reads in ("number", "count"):
        return _number(parameter, rng)
    day = dt.date(1960, 1, 1) + dt.timedelta(rng.randrange(110 * 365))
    if entity.reads == "moment":
        clock = f"{rng.randrange(24):02}:{rng.randrange(0, 60, 5):02}"
        alone = pattern("descriptions", "clock").search(parameter.description)
        return clock if alone else f"{day}{rng.choice('TTT ')}{clock}"
    if entity.reads == "written date":
        month_first = pattern("descriptions", "month first").search(scene.topic) is not None
        return rng.choice(written_dates(day, f"written {'month' if month_first else 'day'} first"))
    iso, spelled, american = written_dates(day, "forms")[:3]
    return rng.choice((iso, iso, iso, iso, spelled, american))


def _altered(said: str, entity: EntityType, rng: random.Random) -> str:
    """Return what is said with a typing error, in groups, or moved a little, as the type has it."""
    if said[-1:].isdigit() and rng.random() < entity.typos:
        said = said[:-1] + str((int(said[-1]) + rng.randint(1, 9)) % 10)
    if len(said) >= 16 and rng.random() < entity.grouped:
        said = " ".join(said[index : index + 4] for index in range(0, len(said), 4))
    if entity.spread:
        said = str(round(float(said) + rng.uniform(-entity.spread, entity.spread), 2))
    return said


def _number(parameter: Parameter, rng: random.Random) -> str:
    """Return a number within the bounds of the parameter and of the type."""
    schema, entity = parameter.schema, parameter.entity
    size = min(rng.choice(_SIZES), rng.choice(_SIZES))
    least, most = entity.range or (1, size if entity.name == "number" else 9)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    high = most if high is None else int(high)
    low = min(least, high) if low is None else int(low)
    if entity.range:
        low, high = max(low, least), min(high, most)
    number = rng.randint(low, min(max(low, high), low + max(9, size)))
    if parameter.type != "number" or entity.range or rng.random() < _WHOLE:
        return str(number)
    decimals = 4 if rng.random() < _MISTAKES else 2
    return f"{number}.{rng.randrange(1, 10**decimals):0{decimals}}".rstrip("0")


def written(template: str, rng: random.Random) -> str:
    """Return a template's text: # a digit, % a letter, {name} one of a pool, ? a check digit."""
    text, _, check = template.partition(" ") if "?" in template else (template, "", "")
    for _ in range(_TRIES):
        made = _PART.sub(lambda match: _part(match, rng), text)
        digit = _completing_digit(re.sub(r"\D", "", made.partition("?")[0]), check) if check else ""
        if digit is not None:
            return made.replace("?", digit)
    raise ValueError(f"the template {template!r} never gets a check digit")


def _part(match: re.Match[str], rng: random.Random) -> str:
    return str(rng.choice(data("pools")[match[1]] if match[1] else _CHARACTERS[match[0]]))


def _completing_digit(digits: str, check: str) -> str | None:
    """Return the digit that follows ``digits`` by a rule of ``data/checks.yaml``, if any."""
    rule = data("checks")[check]
    pairs = zip(reversed(digits), itertools.cycle(rule["weights"]))
    products = [int(digit) * weight for digit, weight in pairs]
    if rule.get("fold"):
        products = [sum(divmod(product, 10)) for product in products]
    number = -sum(products) % rule["modulus"]
    return str(number) if number < 10 else rule.get("ten")


def _iban(country: str, basic: str) -> str:
    """Return an IBAN with its check digits (ISO 13616), of the country's basic account number."""
    moved = "".join(str(int(letter, 36)) for letter in f"{basic}{country}00")
    return f"{country}{98 - int(moved) % 97:02}{basic}"

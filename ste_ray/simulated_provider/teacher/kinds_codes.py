"""Kinds of values that are identifiers: book, card, article and tax numbers, with check digits."""

from __future__ import annotations

import random
import re

from ste_ray.simulated_provider.teacher.kind import Found, Kind, Scene, Value, find_pattern, strings
from ste_ray.simulated_provider.teacher.kinds_banking import draw_digits, spaced, spoil
from ste_ray.simulated_provider.teacher.schema import Parameter


def isbn13(start: str) -> str:
    """Return the 13-digit number that begins with these twelve digits."""
    total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(start))
    return f"{start}{-total % 10}"


def isbn10(start: str) -> str:
    """Return the 10-digit ISBN that begins with these nine digits."""
    total = sum(int(digit) * (10 - index) for index, digit in enumerate(start))
    return f"{start}{'0123456789X'[-total % 11]}"


def luhn(start: str) -> str:
    """Return the digits with their Luhn check digit."""
    total = 0
    for index, digit in enumerate(reversed(start)):
        number = int(digit) * (2 if index % 2 == 0 else 1)
        total += number - 9 if number > 9 else number
    return f"{start}{-total % 10}"


def _isbn_length(scene: Scene) -> int:
    return scene.share("isbn length", lambda: scene.rng.choice((10, 13)))


def _make_isbn(scene: Scene, parameter: Parameter) -> Value:
    rng = scene.rng
    start = rng.choice("013") + draw_digits(rng, 8)
    wants = re.search(r"\b(?:isbn[- ]?)?(10|13)\b", parameter.description)
    length = int(wants.group(1)) if wants else _isbn_length(scene)
    return spaced(spoil(isbn10(start) if length == 10 else isbn13("978" + start), rng, 0.12))


def _make_isbn_length(scene: Scene, parameter: Parameter) -> Value:
    wanted = 23 - _isbn_length(scene)
    return Value(scene.rng.choice((f"ISBN-{wanted}", f"{wanted} digits")), (wanted,))


def _find_isbn_length(text: str, parameter: Parameter) -> list[Found]:
    def convert(said: str) -> Value:
        return Value(said, (int(re.sub(r"\D", "", said)),))

    return find_pattern(r"\bISBN-1[03]\b|\b1[03][ -]digits?\b", convert, text)


def _make_digits(scene: Scene, parameter: Parameter) -> Value:
    said = scene.rng.choice("123456789") + draw_digits(scene.rng, scene.rng.randint(4, 13))
    return Value(said, (said,))


def _find_digits(text: str, parameter: Parameter) -> list[Found]:
    return find_pattern(r"(?<![\w.-])\d{3,20}(?![\w-]|\.\d)", spaced, text)


def _find_grouped_digits(text: str, parameter: Parameter) -> list[Found]:
    return find_pattern(r"(?<![\w-])\d(?:[ -]?\d){7,18}[xX]?(?![\w-])", spaced, text)


def _make_card(scene: Scene, parameter: Parameter) -> Value:
    rng = scene.rng
    prefix, length = rng.choice([("4", 16), ("51", 16), ("55", 16), ("34", 15), ("6011", 16)])
    text = spoil(luhn(prefix + draw_digits(rng, length - len(prefix) - 1)), rng)
    if length == 16 and rng.random() < 0.25:
        text = " ".join(text[index : index + 4] for index in range(0, 16, 4))
    return spaced(text)


def _make_ean(scene: Scene, parameter: Parameter) -> Value:
    return spaced(spoil(isbn13(scene.rng.choice("4578") + draw_digits(scene.rng, 11)), scene.rng))


def _vat(scene: Scene) -> tuple[str, str]:
    def draw() -> tuple[str, str]:
        maker = scene.rng.choice(
            (_german_vat, _dutch_vat, _danish_vat, _austrian_vat, _italian_vat)
        )
        text = spoil(maker(scene.rng), scene.rng)
        return text[:2], text[2:]

    return scene.share("vat", draw)


def vat_country(scene: Scene) -> str:
    """Return the country of the company of this scene."""
    return _vat(scene)[0]


def _make_vat(scene: Scene, parameter: Parameter) -> Value:
    country, digits = _vat(scene)
    # Where the country is told apart from the number, most people leave its letters away.
    apart = "country" in str(scene.shared.get("topic", ""))
    if apart and scene.rng.random() < 0.8:
        return Value(digits, (digits, country + digits))
    return Value(country + digits, (country + digits, digits))


def _find_vat(text: str, parameter: Parameter) -> list[Found]:
    def convert(said: str) -> Value:
        bare = re.sub(r"^[A-Z]{2}(?=U?\d)", "", said)
        return Value(said, tuple(dict.fromkeys((said, bare))))

    return find_pattern(r"(?<!\w)(?:[A-Z]{2})?U?\d{8,12}(?:B\d\d)?(?!\w)", convert, text)


def _german_vat(rng: random.Random) -> str:
    digits = rng.choice("123456789") + draw_digits(rng, 7)
    check = 10
    for digit in digits:
        check = (int(digit) + check) % 10
        check = 2 * (check or 10) % 11
    return f"DE{digits}{(11 - check) % 10}"


def _dutch_vat(rng: random.Random) -> str:
    while True:
        digits = draw_digits(rng, 8)
        check = sum(int(digit) * (9 - index) for index, digit in enumerate(digits)) % 11
        if check < 10:
            return f"NL{digits}{check}B01"


def _danish_vat(rng: random.Random) -> str:
    while True:
        digits = rng.choice("123456789") + draw_digits(rng, 7)
        weights = (2, 7, 6, 5, 4, 3, 2, 1)
        if sum(int(d) * w for d, w in zip(digits, weights, strict=True)) % 11 == 0:
            return f"DK{digits}"


def _austrian_vat(rng: random.Random) -> str:
    digits = draw_digits(rng, 7)
    doubled = (sum(divmod(int(digit) * (1 + index % 2), 10)) for index, digit in enumerate(digits))
    return f"ATU{digits}{(6 - sum(doubled)) % 10}"


def _italian_vat(rng: random.Random) -> str:
    return "IT" + luhn(f"{draw_digits(rng, 7)}{rng.randrange(1, 100):03d}")


KINDS = (
    Kind(
        "isbn length",
        r"\b(?:kind|type|length|form|version) of (?:the )?isbn\b|"
        r"\bisbn (?:kind|type|length|form)\b",
        strings("integer"),
        _make_isbn_length,
        _find_isbn_length,
        (),
        ("to {v}", "into {v}", "so that it has the form {v}"),
    ),
    Kind(
        "isbn",
        r"\bisbn(?:-?1[03])?\b|\bbook number\b",
        strings(),
        _make_isbn,
        _find_grouped_digits,
        ("isbn", "international standard book number"),
    ),
    Kind(
        "ean",
        r"\b(?:ean|barcode|gtin|upc)\b",
        strings(),
        _make_ean,
        _find_grouped_digits,
        ("ean", "barcode"),
    ),
    Kind(
        "vat",
        r"\bvat\b|\btax (?:id|number)\b",
        strings(),
        _make_vat,
        _find_vat,
        ("vat number", "vat id"),
    ),
    Kind(
        "card",
        r"\b(?:number of (?:the|an?) )?(?:credit |debit |payment |bank )?cards?\b|\bluhn\b",
        strings(),
        _make_card,
        _find_grouped_digits,
        ("payment card", "credit card", "card number", "card"),
    ),
    Kind(
        "digits",
        r"\bdigits\b",
        strings(),
        _make_digits,
        _find_digits,
        ("row of digits", "sequence of digits", "digits"),
        naming=("the digits {v}", "{v}", "the row of digits {v}"),
    ),
)

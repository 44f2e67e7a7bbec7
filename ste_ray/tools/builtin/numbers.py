"""Numbers and units, on pint, num2words and roman.

Traps: C and F are coulomb and farad; languages go by codes, yet some names happen to work
(``french``) and others not (``spanish``); two siblings that write the same amount in two languages;
an error text that explains nothing.
"""

from __future__ import annotations

import functools
import re
from decimal import Decimal
from typing import Any

import pint
import roman
from num2words import num2words

from ste_ray.tools.errors import ToolError

# Exponents of more than one digit could keep pint busy for ever.
_UNIT = re.compile(r"[^\W\d]+(\^?[2-9])?|°[CF]")
_OPERATOR = re.compile(r"\s*[*/]\s*|\s+")
_MAX_UNIT_CHARS = 100  # a name that is none is compared with all prefixes and suffixes
_MAX_AMOUNT = Decimal(10) ** 12


def unit_convert(value: float, source: str, target: str) -> dict[str, object]:
    """Convert a value from one unit to another of the same dimension."""
    registry = _registry()
    try:
        quantity = registry.Quantity(value, _parse_unit(source)).to(_parse_unit(target))
    except pint.PintError as error:
        raise ToolError(str(error)) from None
    result = float(f"{quantity.magnitude:.9g}")
    return {"value": value, "source": source, "target": target, "result": result}


def number_to_words(number: float, lang: str = "en") -> dict[str, object]:
    """Write a number out in words."""
    try:
        words = num2words(number, lang=lang)
    except NotImplementedError:
        raise ToolError(f"Language {lang!r} is not supported. Use a two-letter code.") from None
    return {"number": number, "lang": lang, "words": words}


def amount_words_mxn_es(amount: float) -> dict[str, object]:
    """Write an amount of Mexican pesos out in Spanish, as on a cheque."""
    pesos, cents = _pesos_and_cents(amount)
    words = num2words(pesos, lang="es")
    # Before a noun and before mil, uno loses its ending; round millions are followed by de.
    words = re.sub(r"veintiuno(?= mil|$)", "veintiún", words)
    words = re.sub(r"\buno(?= mil|$)", "un", words)
    of = "de " if re.search(r"(millón|millones|billón|billones)$", words) else ""
    noun = "peso" if pesos == 1 else "pesos"
    return {"amount": amount, "words": f"{words} {of}{noun} {cents:02d}/100 M.N."}


def amount_words_mxn_en(amount: float) -> dict[str, object]:
    """Write an amount of Mexican pesos out in English, as on a cheque."""
    pesos, cents = _pesos_and_cents(amount)
    words = num2words(pesos, lang="en")
    noun = "peso" if pesos == 1 else "pesos"
    return {"amount": amount, "words": f"{words} {noun} {cents:02d}/100 MXN"}


def roman_encode(number: int) -> dict[str, object]:
    """Write a number as a Roman numeral."""
    try:
        numeral = roman.toRoman(int(number))
    except roman.RomanError as error:
        raise ToolError(str(error)) from None
    return {"number": int(number), "roman": numeral}


def roman_decode(numeral: str) -> dict[str, object]:
    """Read a Roman numeral."""
    try:
        number = roman.fromRoman(numeral)
    except roman.RomanError as error:
        raise ToolError(str(error)) from None
    return {"roman": numeral, "number": number}


def _pesos_and_cents(amount: float) -> tuple[int, int]:
    exact = Decimal(str(amount))
    cents = exact * 100
    if cents != cents.to_integral_value() or not 0 <= exact < _MAX_AMOUNT:
        raise ToolError("Invalid input")
    return int(cents) // 100, int(cents) % 100


def _parse_unit(text: str) -> Any:
    if len(text) > _MAX_UNIT_CHARS:
        raise ToolError(f"Invalid unit: at most {_MAX_UNIT_CHARS} characters")
    for part in _OPERATOR.split(text):
        if not _UNIT.fullmatch(part):
            raise ToolError(f"Invalid unit {text!r}")
    return _registry().parse_units(text)


@functools.cache
def _registry() -> Any:
    return pint.UnitRegistry()

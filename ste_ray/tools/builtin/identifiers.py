"""Account numbers, book numbers and check digits, on schwifty, isbnlib and python-stdnum.

Traps: a left-out branch code gives a well-formed but wrong IBAN; an ISBN with a wrong check digit
gives empty text; the names of the check digit schemes are told by an error only; other errors
explain nothing.
"""

from __future__ import annotations

import importlib
import re

import isbnlib
from schwifty import IBAN
from schwifty.exceptions import SchwiftyException
from stdnum import get_cc_module, luhn
from stdnum.exceptions import ValidationError

from ste_ray.tools.errors import ToolError

_SCHEMES = ("luhn", "verhoeff", "damm")
_CARD_NETWORKS = (
    ("American Express", re.compile(r"3[47]\d{13}")),
    ("Visa", re.compile(r"4(\d{12}|\d{15}|\d{18})")),
    ("Mastercard", re.compile(r"(5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}")),
    ("Discover", re.compile(r"6(011|4[4-9]\d|5\d{2})\d{12}")),
)


def iban_check(iban: str) -> dict[str, object]:
    """Say whether an IBAN is valid, and which bank it belongs to."""
    try:
        found = IBAN(iban)
    except SchwiftyException as error:
        return {"iban": iban, "valid": False, "reason": str(error)}
    return {
        "iban": str(found),
        "valid": True,
        "country": found.country_code,
        "bank_code": found.bank_code,
        "bank": found.bank_name,
        "bic": str(found.bic) if found.bic else None,
    }


def iban_build(country: str, bank: str, account: str, branch: str = "") -> dict[str, object]:
    """Build the IBAN of an account."""
    try:
        iban = IBAN.generate(country, bank_code=bank, account_code=account, branch_code=branch)
    except SchwiftyException as error:
        raise ToolError(str(error)) from None
    return {"country": country, "bank": bank, "account": account, "iban": str(iban)}


def isbn_convert(isbn: str, to: int) -> str:
    """Convert an ISBN to 10 or 13 digits; empty if that cannot be done."""
    converters = {10: isbnlib.to_isbn10, 13: isbnlib.to_isbn13}
    if to not in converters:
        raise ToolError("to must be 10 or 13")
    return str(converters[to](isbn) or "")


def vat_check(country: str, number: str) -> dict[str, object]:
    """Say whether a VAT number is well formed and its check digits are right."""
    module = get_cc_module(country, "vat") if re.fullmatch(r"[A-Za-z]{2}", country) else None
    if module is None:
        raise ToolError("Invalid input")
    return {"country": country, "number": number, "valid": bool(module.is_valid(number))}


def card_check(number: str) -> dict[str, object]:
    """Say whether the number of a payment card is valid, and of which network it is."""
    digits = re.sub(r"[ -]", "", number)
    if not re.fullmatch(r"[0-9]{12,19}", digits):
        raise ToolError("Invalid input")
    network = next((name for name, form in _CARD_NETWORKS if form.fullmatch(digits)), "unknown")
    return {"number": digits, "valid": bool(luhn.is_valid(digits)), "network": network}


def check_digit(digits: str, scheme: str = "luhn") -> dict[str, object]:
    """Compute the check digit that is to be appended to a row of digits."""
    if scheme not in _SCHEMES:
        raise ToolError(f"Unknown scheme {scheme!r}. Known schemes: {', '.join(_SCHEMES)}")
    if not re.fullmatch(r"[0-9]+", digits):
        raise ToolError(f"digits must hold 0-9 only, not {digits!r}")
    try:
        check = str(importlib.import_module(f"stdnum.{scheme}").calc_check_digit(digits))
    except ValidationError as error:
        raise ToolError(str(error)) from None
    return {"digits": digits, "scheme": scheme, "check_digit": check, "number": digits + check}

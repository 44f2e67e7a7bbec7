"""Banks, accounts, cards, taxes and money, on schwifty, python-stdnum, pycountry and babel.

Traps: a left-out branch code gives a well-formed but wrong IBAN; a bank that the registers lack
has no names; names such as Franc are no currencies; the styles of an amount are told by an error
only; other errors explain nothing.
"""

from __future__ import annotations

import functools
import re
from decimal import Decimal
from typing import Any, Literal

import babel
import pycountry
from babel.numbers import format_currency, get_currency_precision, get_currency_symbol
from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException
from stdnum import get_cc_module, luhn

from ste_ray.tools.errors import ToolError

_MAX_NAMES = 20
_MAX_AMOUNT = 10**15
_STYLES: dict[str, Literal["standard", "accounting", "name"]] = {
    "std": "standard",
    "acc": "accounting",
    "name": "name",
}
_LOCALE = re.compile(r"[A-Za-z]{2,3}(_[A-Za-z]{4})?(_([A-Za-z]{2}|[0-9]{3}))?")
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


def bic_banks(bic: str) -> dict[str, object]:
    """Name the banks that a BIC belongs to, as far as the registers know them."""
    try:
        found = BIC(bic)
    except SchwiftyException as error:
        raise ToolError(str(error)) from None
    names = found.bank_names
    return {
        "bic": str(found),
        "country": found.country_code,
        "num_banks": len(names),
        "banks": names[:_MAX_NAMES],
    }


def vat_check(country: str, number: str) -> dict[str, object]:
    """Say whether a VAT number is well formed and its check digits are right."""
    module = get_cc_module(country, "vat") if re.fullmatch(r"[A-Za-z]{2}", country) else None
    if module is None:
        raise ToolError("Invalid input")
    # Of some countries alone the library minds the spaces between groups of digits.
    valid = bool(module.is_valid(number.replace(" ", "")))
    return {"country": country, "number": number, "valid": valid}


def card_check(number: str) -> dict[str, object]:
    """Say whether the number of a payment card is valid, and of which network it is."""
    digits = re.sub(r"[ -]", "", number)
    if not re.fullmatch(r"[0-9]{12,19}", digits):
        raise ToolError("Invalid input")
    network = next((name for name, form in _CARD_NETWORKS if form.fullmatch(digits)), "unknown")
    return {"number": digits, "valid": bool(luhn.is_valid(digits)), "network": network}


def currency_info(code: str) -> dict[str, object]:
    """Return the name, number, symbol and decimals of a currency."""
    found = _currencies().get(code)
    if found is None:
        raise ToolError(f"Unknown currency {code!r}")
    return {
        "code": code,
        "name": found.name,
        "numeric": found.numeric,
        "symbol": get_currency_symbol(code, locale="en_US"),
        "decimals": get_currency_precision(code),
    }


def money_format(
    amount: float, currency: str, locale: str = "en_US", style: str = "std"
) -> dict[str, object]:
    """Write an amount of money as is customary in a language and country."""
    if currency not in _currencies():
        raise ToolError(f"Unknown currency {currency!r}")
    if style not in _STYLES:
        raise ToolError(f"Unknown style {style!r}. Use one of: {', '.join(_STYLES)}")
    if not -_MAX_AMOUNT < amount < _MAX_AMOUNT:
        raise ToolError("Invalid input")
    text = format_currency(
        Decimal(str(amount)), currency, locale=_locale(locale), format_type=_STYLES[style]
    )
    return {"amount": amount, "currency": currency, "locale": locale, "text": text}


def _locale(name: str) -> babel.Locale:
    try:
        if not _LOCALE.fullmatch(name):
            raise ValueError
        return babel.Locale.parse(name)
    except (ValueError, babel.UnknownLocaleError):
        raise ToolError(
            f"Unknown locale {name!r}: write a language such as de, or language and country such "
            "as de_AT"
        ) from None


@functools.cache
def _currencies() -> dict[str, Any]:
    return {currency.alpha_3: currency for currency in pycountry.currencies}

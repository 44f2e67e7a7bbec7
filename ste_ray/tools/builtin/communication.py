"""Telephone numbers, e-mail addresses and browsers, on phonenumbers, email-validator, user-agents.

Traps: a national number needs its region, in capital letters, which the error says so dryly that
UK for GB stays a riddle; the formats of a number are 0 to 3, which only an error says; an address
is judged by its form alone; a browser nobody knows is called Other. Nothing is looked up over the
network.
"""

from __future__ import annotations

import phonenumbers
import user_agents
from email_validator import EmailNotValidError, validate_email
from phonenumbers import PhoneNumber, PhoneNumberType, geocoder, timezone

from ste_ray.tools.errors import ToolError

_FORMATS = range(4)  # E.164, international, national, RFC 3966
_MAX_EMAIL_CHARS = 320
_MAX_AGENT_CHARS = 500


def phone_lookup(number: str, region: str | None = None) -> dict[str, object]:
    """Say where a telephone number belongs and of which kind it is."""
    found = _parse(number, region)
    kind = PhoneNumberType.to_string(phonenumbers.number_type(found))
    return {
        "number": phonenumbers.format_number(found, _FORMATS[0]),
        "valid": phonenumbers.is_valid_number(found),
        "region": phonenumbers.region_code_for_number(found),
        "kind": kind.lower(),
        "location": geocoder.description_for_number(found, "en"),
        "timezones": list(timezone.time_zones_for_number(found)),
    }


def phone_format(number: str, region: str | None = None, fmt: int = 0) -> dict[str, object]:
    """Write a telephone number in another format."""
    if fmt not in _FORMATS:
        raise ToolError("fmt must be between 0 and 3")
    found = _parse(number, region)
    return {"number": number, "formatted": phonenumbers.format_number(found, fmt)}


def email_check(email: str) -> dict[str, object]:
    """Say whether an e-mail address is well formed, and how it is written in normal form."""
    if "@" not in email or len(email) > _MAX_EMAIL_CHARS:
        raise ToolError("Invalid input")
    try:
        found = validate_email(email, check_deliverability=False)
    except EmailNotValidError as error:
        return {"email": email, "valid": False, "reason": str(error)}
    return {
        "email": email,
        "valid": True,
        "normalized": found.normalized,
        "ascii_domain": found.ascii_domain,
    }


def ua_parse(ua: str) -> dict[str, object]:
    """Say which browser, system and device a user agent header tells of."""
    if not ua.strip() or len(ua) > _MAX_AGENT_CHARS:
        raise ToolError(f"ua must have 1 to {_MAX_AGENT_CHARS} characters")
    found = user_agents.parse(ua)
    return {
        "browser": found.browser.family,
        "browser_version": found.browser.version_string,
        "system": found.os.family,
        "system_version": found.os.version_string,
        "device": found.device.family,
        "is_mobile": found.is_mobile,
        "is_bot": found.is_bot,
    }


def _parse(number: str, region: str | None) -> PhoneNumber:
    try:
        return phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException as error:
        raise ToolError(str(error.args[0])) from None

"""Countries, states and languages, on pycountry, us and langcodes.

Traps: UK is no code of a country, and everyday names of some countries are unknown; of two tools
one wants the exact name and the other lists what comes near, or nothing; states are also found by
how they sound; a language is asked for by its name, and some codes are names of other languages.
"""

from __future__ import annotations

import langcodes
import pycountry
import us

from ste_ray.tools.errors import ToolError

_MAX_CHARS = 100
_MIN_SEARCH_CHARS = 3
_MAX_FOUND = 10


def country_info(q: str) -> dict[str, object]:
    """Return the codes and names of a country, given one of them."""
    try:
        found = pycountry.countries.lookup(_short(q))
    except LookupError:
        raise ToolError(f"Unknown country {q!r}") from None
    return {
        "name": found.name,
        "official_name": getattr(found, "official_name", None),
        "alpha_2": found.alpha_2,
        "alpha_3": found.alpha_3,
        "numeric": found.numeric,
        "flag": found.flag,
    }


def country_search(q: str) -> dict[str, object]:
    """List the countries whose names, or the names of whose regions, match a text."""
    if len(_short(q).strip()) < _MIN_SEARCH_CHARS:
        raise ToolError(f"q must have at least {_MIN_SEARCH_CHARS} characters")
    try:
        found = pycountry.countries.search_fuzzy(q)
    except LookupError:
        found = []
    return {
        "q": q,
        "countries": [
            {"alpha_2": entry.alpha_2, "name": entry.name} for entry in found[:_MAX_FOUND]
        ],
    }


def us_state(q: str) -> dict[str, object]:
    """Return what is known about a state, the capital district or a territory of the USA."""
    found = us.states.lookup(_short(q))
    if found is None:
        raise ToolError("not found")
    return {
        "name": found.name,
        "abbreviation": found.abbr,
        "fips": found.fips,
        "capital": found.capital,
        "statehood_year": found.statehood_year,
        "is_territory": found.is_territory,
        "timezones": list(found.time_zones),
    }


def language_tag(name: str) -> dict[str, object]:
    """Return the tag of a language, given its name in any language."""
    try:
        found = langcodes.find(_short(name))
    except LookupError:
        raise ToolError(f"Unknown language {name!r}") from None
    return {
        "name": name,
        "tag": found.to_tag(),
        "alpha_3": found.to_alpha3(),
        "english_name": found.display_name("en"),
        "own_name": found.autonym(),
        "script": found.maximize().script,
    }


def _short(text: str) -> str:
    if len(text) > _MAX_CHARS:
        raise ToolError(f"at most {_MAX_CHARS} characters")
    return text

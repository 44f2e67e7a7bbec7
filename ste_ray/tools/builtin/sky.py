"""Sun, moon and constellations, on astral and ephem.

Traps: all times are UTC, so that an evening far in the west bears the date of the next day; on
polar days and nights there is no sunrise; kinds of twilight and phases go by codes that an error
tells; the phase of the moon comes on a scale that nothing explains, 0 to 28 with 14 the full moon;
bodies are written with a capital letter, which no error says.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable

import ephem
from astral import Observer
from astral import sun as astral_sun

from ste_ray.tools.builtin.iso_dates import check_year, iso_date, iso_date_or_today
from ste_ray.tools.errors import ToolError

_TWILIGHTS = {"civ": 6.0, "nau": 12.0, "ast": 18.0}  # the sun's depth below the horizon, degrees
_PHASES = {
    "new": ephem.next_new_moon,
    "first": ephem.next_first_quarter_moon,
    "full": ephem.next_full_moon,
    "last": ephem.next_last_quarter_moon,
}
_BODIES = {
    name: getattr(ephem, name)
    for name in (
        "Sun", "Moon", "Mercury", "Venus", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune", "Pluto"
    )
}  # fmt: skip
_PHASE_SCALE = 28.0
_DEGREES_AN_HOUR = 15.0
_TIME_FORMAT = "%Y-%m-%dT%H:%MZ"


def sun_times(lat: float, lng: float, date: str, twilight: str = "civ") -> dict[str, object]:
    """Return when the sun rises and sets at a place on a day there, with dawn and dusk."""
    day = iso_date(date)
    check_year(day.year)
    if not (-90 <= lat <= 90 and -180 <= lng <= 180):
        raise ToolError("Invalid input")
    if twilight not in _TWILIGHTS:
        raise ToolError(f"Unknown twilight {twilight!r}. Use one of: {', '.join(_TWILIGHTS)}")
    observer, depth = Observer(lat, lng), _TWILIGHTS[twilight]
    # Asked for in UTC, the library would give a far place the sunset of another day.
    zone = datetime.timezone(datetime.timedelta(hours=round(lng / _DEGREES_AN_HOUR)))
    try:
        rise = astral_sun.sunrise(observer, day, tzinfo=zone)
        fall = astral_sun.sunset(observer, day, tzinfo=zone)
    except ValueError as error:
        raise ToolError(str(error)) from None
    return {
        "date": date,
        "dawn": _time_or_none(lambda: astral_sun.dawn(observer, day, depth, tzinfo=zone)),
        "sunrise": _utc(rise),
        "noon": _utc(astral_sun.noon(observer, day, tzinfo=zone)),
        "sunset": _utc(fall),
        "dusk": _time_or_none(lambda: astral_sun.dusk(observer, day, depth, tzinfo=zone)),
    }


def moon_phase(date: str | None = None) -> dict[str, object]:
    """Return the phase of the moon at noon UTC, on a scale from new moon to new moon."""
    day = iso_date_or_today(date)
    check_year(day.year)
    moment = _noon(day)
    moon, sun = ephem.Ecliptic(ephem.Moon(moment)), ephem.Ecliptic(ephem.Sun(moment))
    turn = (moon.lon - sun.lon) / math.tau % 1.0
    return {"date": day.isoformat(), "phase": round(turn * _PHASE_SCALE, 1) % _PHASE_SCALE}


def moon_next(phase: str, start: str | None = None) -> dict[str, object]:
    """Return when the moon next reaches a phase, from the beginning of a day on."""
    if phase not in _PHASES:
        raise ToolError(f"Unknown phase {phase!r}. Use one of: {', '.join(_PHASES)}")
    day = iso_date_or_today(start)
    check_year(day.year)
    moment = _PHASES[phase](day.strftime("%Y/%m/%d")).datetime()
    return {"phase": phase, "date": moment.date().isoformat(), "time": _utc(moment)}


def constellation(body: str, date: str | None = None) -> dict[str, object]:
    """Return the constellation in which sun, moon or a planet stands at noon UTC."""
    if body not in _BODIES:
        raise ToolError(f"Unknown body {body!r}")
    day = iso_date_or_today(date)
    check_year(day.year)
    abbreviation, name = ephem.constellation(_BODIES[body](_noon(day)))
    return {
        "body": body,
        "date": day.isoformat(),
        "constellation": name,
        "abbreviation": abbreviation,
    }


def _noon(day: datetime.date) -> ephem.Date:
    return ephem.Date(day.strftime("%Y/%m/%d 12:00"))


def _time_or_none(find: Callable[[], datetime.datetime]) -> str | None:
    try:
        return _utc(find())
    except ValueError:  # the sun does not sink that deep
        return None


def _utc(moment: datetime.datetime) -> str:
    """Write a moment to the nearest minute; one without a zone is in UTC already."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC)
    return (moment + datetime.timedelta(seconds=30)).strftime(_TIME_FORMAT)

"""Kinds of values about time: dates, times of day, time zones, calendars, counts of days."""

from __future__ import annotations

import datetime as dt
import re

from ste_ray.simulated_provider.teacher.data_places import TIME_ZONES
from ste_ray.simulated_provider.teacher.kind import (
    BARE,
    MISTAKES,
    NAMED,
    Found,
    Kind,
    Scene,
    Value,
    find_pattern,
    row_finder,
    strings,
)
from ste_ray.simulated_provider.teacher.schema import Parameter

MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_MONTH = "|".join(MONTHS)
_ISO_DATE = r"\d{4}-\d{2}-\d{2}"
_DATE = rf"{_ISO_DATE}(?!T)|\d{{1,2}} (?:{_MONTH}) \d{{4}}|(?:{_MONTH}) \d{{1,2}}, \d{{4}}"
_LOOSE = r"yyyy-mm-dd|iso 8601|\biso\b"

CALENDARS = (
    ("Islamic", "islamic", "isl", "hijri"),
    ("Persian", "persian", "per", "jalali"),
    ("Hebrew", "hebrew", "heb", "jewish"),
    ("Julian", "julian", "jul"),
    ("Gregorian", "gregorian", "greg"),
    ("Mayan", "mayan", "maya"),
    ("Coptic", "coptic", "cop"),
    ("Indian civil", "indian_civil", "ind"),
    ("French republican", "french_republican", "fre"),
    ("Bahai", "bahai", "bah"),
)


def date_forms(day: dt.date) -> tuple[str, ...]:
    """Return the ways to write ``day``: spelled out, ISO, with slashes, with dots."""
    month = MONTHS[day.month - 1]
    return (
        f"{day.day} {month} {day.year}",
        day.isoformat(),
        f"{month} {day.day}, {day.year}",
        f"{day:%d/%m/%Y}",
        f"{day:%d.%m.%Y}",
        f"{day:%Y%m%d}",
    )


def _draw_date(scene: Scene) -> dt.date:
    return dt.date(1960, 1, 1) + dt.timedelta(days=scene.rng.randrange(110 * 365))


def _documents_iso(parameter: Parameter) -> bool:
    text = f"{parameter.description} {parameter.schema.get('pattern', '')}".lower()
    dated = any(re.fullmatch(_ISO_DATE, example) for example in parameter.examples)
    return dated or parameter.schema.get("format") == "date" or bool(re.search(_LOOSE, text))


def _make_date(scene: Scene, parameter: Parameter) -> Value:
    day = _draw_date(scene)
    if scene.rng.random() < MISTAKES:
        wrong = f"{day.year}-{scene.rng.choice(('02-30', '04-31', '06-31', '09-31', '13-05'))}"
        return Value(wrong, (wrong,))
    forms = date_forms(day)
    spoken = 0.15 if _documents_iso(parameter) else 0.35
    pick = scene.rng.random()
    said = forms[0] if pick < spoken * 0.7 else forms[2] if pick < spoken else forms[1]
    return Value(said, _date_order(said, forms, parameter))


def _date_order(said: str, forms: tuple[str, ...], parameter: Parameter) -> tuple[str, ...]:
    first = forms[1] if _documents_iso(parameter) else said
    return (first, *(form for form in (forms[1], *forms) if form != first))


def _find_date(text: str, parameter: Parameter) -> list[Found]:
    def convert(said: str) -> Value:
        day = read_date(said)
        forms = _date_order(said, date_forms(day), parameter) if day else (said,)
        return Value(said, forms)

    return find_pattern(_DATE, convert, text)


def read_date(said: str) -> dt.date | None:
    """Return the date that is written in ISO form or with the month's name, if it is one."""
    for style in ("%Y-%m-%d", "%d %B %Y", "%B %d, %Y"):
        try:
            return dt.datetime.strptime(said, style).date()
        except ValueError:
            continue
    return None


def _make_moment(scene: Scene, parameter: Parameter) -> Value:
    rng = scene.rng
    clock = dt.time(rng.randrange(24), rng.randrange(0, 60, 5))
    if re.search(r"\b(hh:mm|clock|time of day)\b", parameter.description, re.I):
        return Value(f"{clock:%H:%M}", (f"{clock:%H:%M}", f"{clock:%H:%M:%S}"))
    day = dt.date(2015, 1, 1) + dt.timedelta(days=rng.randrange(25 * 365))
    moment = f"{day}T{clock:%H:%M}"
    if rng.random() < 0.25:
        moment = f"{day} {clock:%H:%M}"
    return _moment(moment)


def _moment(said: str) -> Value:
    iso = said.replace(" ", "T")
    with_seconds = iso if iso.count(":") == 2 else f"{iso}:00"
    return Value(said, (said, iso, with_seconds, iso.replace("T", " "), with_seconds + "Z"))


def _find_moment(text: str, parameter: Parameter) -> list[Found]:
    full = find_pattern(rf"{_ISO_DATE}[T ]\d{{2}}:\d{{2}}(?::\d{{2}})?", _moment, text)
    if full:
        return full
    return find_pattern(r"\b\d{1,2}:\d{2}\b", lambda said: Value(said, (said, f"{said}:00")), text)


def _make_zone(scene: Scene, parameter: Parameter) -> Value:
    used = scene.share("zones", list[str])
    zone, city = scene.rng.choice([row for row in TIME_ZONES if row[0] not in used])
    used.append(zone)
    if scene.rng.random() < 0.15:
        return Value(city, (city, zone))
    return Value(zone, (zone, city))


_find_zone_names = row_finder(TIME_ZONES)


def _find_zone(text: str, parameter: Parameter) -> list[Found]:
    found = _find_zone_names(text)
    # A zone that the table lacks is still a zone, and must not be taken for another one.
    others = find_pattern(
        r"(?<![\w/])[A-Z]\w+(?:/[A-Z][\w+-]*)+(?![\w/])", lambda said: Value(said, (said,)), text
    )
    known = {item.start for item in found}
    return [*found, *(item for item in others if item.start not in known)]


def _make_calendar(scene: Scene, parameter: Parameter) -> Value:
    used = scene.share("calendars", list[str])
    weights = [8 if index < 4 else 1 for index in range(len(CALENDARS))]
    row = scene.rng.choices(CALENDARS, weights)[0]
    while row[0] in used:
        row = scene.rng.choice(CALENDARS)
    used.append(row[0])
    return Value(row[0], row)


_find_calendar_names = row_finder(CALENDARS)


def _find_calendar(text: str, parameter: Parameter) -> list[Found]:
    return list(_find_calendar_names(text))


def _make_count(scene: Scene, parameter: Parameter) -> Value:
    low = int(parameter.schema.get("minimum", 1))
    high = min(int(parameter.schema.get("maximum", 900)), 900)
    number = scene.rng.randint(max(low, 1), max(high, 1))
    back = re.search(r"\b(?:negative|back|before)\b", parameter.description) is not None
    if back and scene.rng.random() < 0.3:
        return Value(str(number), (-number,))
    return Value(str(number), (number,))


def _find_count(text: str, parameter: Parameter) -> list[Found]:
    found = []
    for match in re.finditer(r"(?<![\w.:/-])-?\d{1,5}(?![\w:/]|[.,-]\d)", text):
        after = text[match.end() : match.end() + 40]
        back = re.match(r" \w+ (?:before|earlier|back|ago)\b", after) is not None
        number = -int(match.group()) if back else int(match.group())
        found.append(Found(match.start(), match.end(), Value(match.group(), (number,))))
    return found


def _written_forms(day: dt.date, american: bool) -> tuple[str, ...]:
    month = MONTHS[day.month - 1]
    if american:
        return (
            f"{day:%m/%d/%Y}",
            f"{month} {day.day}, {day.year}",
            f"{month[:3]} {day.day}, {day.year}",
            f"{day.month}/{day.day}/{day.year}",
        )
    return (
        f"{day:%d/%m/%Y}",
        f"{day.day} {month} {day.year}",
        f"{day.day}.{day.month}.{day.year}",
        f"{day.day} {month[:3]} {day.year}",
    )


def _make_written_date(scene: Scene, parameter: Parameter) -> Value:
    topic = scene.shared.get("topic", "")
    american = re.search(r"united states|america|month before day|mm/dd", topic) is not None
    said = scene.rng.choice(_written_forms(_draw_date(scene), american))
    return Value(said, (said,))


def _find_written_date(text: str, parameter: Parameter) -> list[Found]:
    short = "|".join(month[:3] for month in MONTHS)
    pattern = (
        rf"\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{4}}|{_DATE}|\d{{1,2}} (?:{short}) \d{{4}}|"
        rf"(?:{short}) \d{{1,2}}, \d{{4}}"
    )

    def convert(said: str) -> Value:
        day = read_date(said)
        return Value(said, (said, day.isoformat()) if day else (said,))

    return find_pattern(pattern, convert, text)


def _make_year(scene: Scene, parameter: Parameter) -> Value:
    low = int(parameter.schema.get("minimum", 1850))
    high = int(parameter.schema.get("maximum", 2150))
    year = scene.rng.randint(max(low, 1850), min(max(high, low), 2150))
    return Value(str(year), (year, str(year)))


def _find_year(text: str, parameter: Parameter) -> list[Found]:
    return find_pattern(
        r"(?<![\d.-])\d{4}(?![\d-])", lambda said: Value(said, (int(said), said)), text
    )


def _make_month(scene: Scene, parameter: Parameter) -> Value:
    month = scene.rng.randrange(12)
    if parameter.type == "integer":
        return Value(MONTHS[month], (month + 1,))
    return Value(MONTHS[month], (MONTHS[month], str(month + 1), MONTHS[month][:3]))


def _find_month(text: str, parameter: Parameter) -> list[Found]:
    def convert(said: str) -> Value:
        number = MONTHS.index(said) + 1
        whole = parameter.type == "integer"
        return Value(said, (number,) if whole else (said, str(number), said[:3]))

    return find_pattern(rf"\b(?:{_MONTH})\b", convert, text)


def _make_weekday(scene: Scene, parameter: Parameter) -> Value:
    return _weekday(scene.rng.choice(WEEKDAYS), parameter)


def _weekday(day: str, parameter: Parameter) -> Value:
    number = WEEKDAYS.index(day) + 1
    if parameter.type == "integer":
        return Value(day, (number, number - 1))
    return Value(day, (day, day[:3], day.lower(), str(number)))


def _find_weekday(text: str, parameter: Parameter) -> list[Found]:
    days = "|".join(WEEKDAYS)
    return find_pattern(rf"\b(?:{days})\b", lambda said: _weekday(said, parameter), text)


KINDS = (
    Kind(
        "time zone",
        r"\btime ?zones?\b|\btz\b|\biana\b",
        strings(),
        _make_zone,
        _find_zone,
        ("time zone", "timezone", "zone"),
        ("in {v}", "for {v}", "in the zone {v}"),
        naming=NAMED,
    ),
    Kind(
        "moment",
        r"\bdate[- ]?time\b|\bdate and time\b|\btimes?\b(?! zone)|\btimestamp\b|\bclock\b|\bhh:mm",
        strings(),
        _make_moment,
        _find_moment,
        ("date and time", "local time", "time", "moment", "datetime", "timestamp"),
        ("at {v}", "for {v}"),
        naming=("{v}", "{v}", "the time {v}", "the date and time {v}"),
    ),
    Kind(
        "calendar",
        r"\bcalendars?\b",
        strings("string", "integer"),
        _make_calendar,
        _find_calendar,
        ("calendar",),
        ("in the {v} calendar", "to the {v} calendar", "using the {v} calendar"),
        naming=("the {v} calendar",),
    ),
    Kind(
        "day count",
        r"\b(?:number of|how many) (?:\w+ )?(?:days|weeks|months|years|hours|minutes|workdays)\b|"
        r"\b(?:days|weeks|months|years|hours|minutes) to (?:add|move|shift|subtract|go)\b|"
        r"\boffset\b",
        strings("integer", "number"),
        _make_count,
        _find_count,
    ),
    Kind(
        "weekday",
        r"\bweekday\b|\bday of the week\b",
        strings("string", "integer"),
        _make_weekday,
        _find_weekday,
        ("weekday",),
        ("on {v}",),
    ),
    Kind(
        "month",
        r"\bmonth\b",
        strings("string", "integer"),
        _make_month,
        _find_month,
        ("month",),
        ("in {v}",),
    ),
    Kind(
        "year",
        r"\byear\b",
        strings("integer", "string"),
        _make_year,
        _find_year,
        ("year",),
        ("in {v}", "in the year {v}", "for {v}"),
        naming=BARE,
    ),
    Kind(
        "written date",
        r"\b(?:written|spoken|typed|free-form|human-readable) dates?\b|"
        r"\bdate (?:text|as written)\b",
        strings(),
        _make_written_date,
        _find_written_date,
        ("date", "written date"),
        ("for {v}",),
        naming=("{v}", "the date {v}", "the written date {v}"),
    ),
    Kind(
        "date",
        r"\bdates?\b|\bdays?\b|\byyyy-mm-dd\b",
        strings(),
        _make_date,
        _find_date,
        ("date", "day"),
        ("on {v}", "for {v}", "for the date {v}"),
        naming=BARE,
    ),
)

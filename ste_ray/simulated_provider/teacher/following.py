"""Whether an argument follows from a request: the same value, written the same or another way."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ste_ray.simulated_provider.teacher.kind import Found, Kind, Value
from ste_ray.simulated_provider.teacher.kinds_time import read_date
from ste_ray.simulated_provider.teacher.lessons import is_number, names_another
from ste_ray.simulated_provider.teacher.lexicon import flag_phrase, kind_of
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool
from ste_ray.simulated_provider.teacher.words import content_words, likeness, stem

_LIKE_ENOUGH = 0.6
_MONTH_FIRST = re.compile(r"united states|america|month before day|mm/dd", re.I)
_DAY_STYLES = ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y")
_MONTH_STYLES = ("%m/%d/%Y", "%m.%d.%Y", "%m-%d-%Y")
_DATE_STYLES = ("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d %b %Y", "%b %d, %Y", "%b %d %Y")
_ABBREVIATED = re.compile(r"[^\W\d_]{3,}")
# Kinds whose numbers mean something only to the tool: the result must say what.
_HIDDEN_CODES = ("unit", "calendar")


@dataclass(frozen=True)
class Evidence:
    """What an argument is held against; ``named`` is what the request names, by parameter."""

    tool: Tool
    parameter: Parameter
    request: str
    observation: str
    named: Mapping[str, Found]


def follows(value: Any, evidence: Evidence) -> bool:
    """Whether an argument's value can be read out of the request."""
    parameter, kind = evidence.parameter, kind_of(evidence.parameter, evidence.tool)
    if "default" in parameter.schema and value == parameter.schema["default"]:
        return True
    if isinstance(value, bool):
        wanted = {stem(word) for word in content_words(flag_phrase(parameter))}
        present = bool(wanted & {stem(word) for word in content_words(evidence.request)})
        return present == value
    candidates = _candidates(value, kind, evidence)
    if isinstance(value, list):
        return all(_follows_from(item, candidates, kind, evidence) for item in value)
    return _follows_from(value, candidates, kind, evidence)


def _candidates(value: Any, kind: Kind, evidence: Evidence) -> list[Found]:
    """Return what the request names for the parameter, without what it names for the others."""
    own = evidence.named.get(evidence.parameter.name)
    if own is not None and not isinstance(value, list):
        return [own]
    others = [item for name, item in evidence.named.items() if name != evidence.parameter.name]
    return [
        item
        for item in kind.find(evidence.request, evidence.parameter)
        if not any(item.start < other.end and other.start < item.end for other in others)
    ]


def _follows_from(value: Any, candidates: list[Found], kind: Kind, evidence: Evidence) -> bool:
    if not candidates:
        return _literal(value, evidence.request)
    return any(_stands_for(value, item.value, kind, evidence) for item in candidates)


def _literal(value: Any, request: str) -> bool:
    """Whether the value itself stands in the request, alone or as the letters before a number."""
    text = str(value)
    if is_number(value):
        numbers = re.findall(r"-?\d[\d,]*(?:\.\d+)?", request)
        return any(float(number.replace(",", "")) == value for number in numbers)
    if len(text) > 1 and re.search(rf"(?<!\w){re.escape(text)}(?:(?!\w)|(?=\d))", request, re.I):
        return True
    # A name that no table holds may be shortened: Zagreb becomes ZAG.
    names = re.findall(r"(?<![.?!] )(?<!^)\b[A-Z]\w{3,}", request)
    return bool(_ABBREVIATED.fullmatch(text)) and any(
        likeness(name, text) >= 0.85 for name in names
    )


def _stands_for(value: Any, named: Value, kind: Kind, evidence: Evidence) -> bool:
    """Whether the value is the named one: a form or code of it, a date written another way."""
    if kind.name in _HIDDEN_CODES and is_number(value):
        return _decoded(named, kind, evidence)
    text, day = str(value), _day_of(named)
    if day is not None:  # before the forms, as 05/08 is another day where the month comes first
        return text == named.said or _read_any_date(text, evidence) == day
    if any(_same(form, value) for form in (named.said, *named.forms)):
        return True
    if is_number(value):
        return False
    if names_another(text, named, kind, evidence.parameter):
        return False
    if re.search(r"\d", text):
        return any(likeness(form, text) == 1.0 for form in (named.said, *named.forms))
    return any(likeness(form, text) >= _LIKE_ENOUGH for form in (named.said, *named.forms))


def _same(form: Any, value: Any) -> bool:
    if is_number(form) and is_number(value):
        return bool(form == value)
    if is_number(value):
        return str(form).replace(",", "") == str(value)
    return str(form).casefold() == str(value).casefold()


def _decoded(named: Value, kind: Kind, evidence: Evidence) -> bool:
    """Whether the result shows the named value, and so that the number sent stands for it."""
    wanted = {form.casefold() for form in named.forms if isinstance(form, str)}
    shown = kind.find(evidence.observation, evidence.parameter)
    return any(
        wanted & {form.casefold() for form in item.value.forms if isinstance(form, str)}
        for item in shown
    )


def _day_of(named: Value) -> dt.date | None:
    days = (read_date(str(form)) for form in (named.said, *named.forms))
    return next((day for day in days if day is not None), None)


def _read_any_date(text: str, evidence: Evidence) -> dt.date | None:
    """Return the date that is written in any way; the month comes first only where documented."""
    day = read_date(text)
    if day is not None:
        return day
    documented = f"{evidence.tool.description} {evidence.parameter.description}"
    own = _MONTH_STYLES if _MONTH_FIRST.search(documented) else _DAY_STYLES
    for style in (*own, *_DATE_STYLES):
        try:
            return dt.datetime.strptime(text, style).date()
        except ValueError:
            continue
    return None

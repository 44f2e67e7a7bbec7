"""Whether an argument follows from a request: the same value, written the same or another way."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ste_ray.simulated_provider.teacher.dates import read_date
from ste_ray.simulated_provider.teacher.lessons import LIKE_ENOUGH, is_number
from ste_ray.simulated_provider.teacher.loading import pattern
from ste_ray.simulated_provider.teacher.mentions import Mention, Value, find, names_another
from ste_ray.simulated_provider.teacher.schema import Parameter
from ste_ray.simulated_provider.teacher.words import likeness, stems


@dataclass(frozen=True)
class Evidence:
    """What an argument is held against; ``named`` is what the request names, by parameter."""

    parameter: Parameter
    request: str
    observation: str
    named: Mapping[str, Mention]


def follows(value: Any, evidence: Evidence) -> bool:
    """Whether an argument's value can be read out of the request."""
    parameter = evidence.parameter
    is_default = "default" in parameter.schema and value == parameter.schema["default"]
    if is_default and parameter.name not in evidence.named:  # unless something else is asked for
        return True
    if isinstance(value, bool):
        return bool(stems(parameter.flag_phrase) & stems(evidence.request)) == value
    items = value if isinstance(value, list) else [value]
    named = _named(evidence, is_list=isinstance(value, list))
    return all(
        any(_stands_for(item, other.value, evidence) for other in named)
        if named
        else _literal(item, evidence.request)
        for item in items
    )


def _named(evidence: Evidence, is_list: bool) -> Sequence[Mention]:
    """Return what the request names for the parameter, without what it names for the others."""
    own = evidence.named.get(evidence.parameter.name)
    if own is not None and not is_list:
        return [own]
    others = [item for name, item in evidence.named.items() if name != evidence.parameter.name]
    found = find(evidence.request, evidence.parameter)
    return [item for item in found if not any(item.overlaps(other) for other in others)]


def _literal(value: Any, request: str) -> bool:
    """Whether the value itself stands in the request, alone or as the letters before a number."""
    if is_number(value):
        numbers = re.findall(r"-?\d[\d,]*(?:\.\d+)?", request)
        return any(float(number.replace(",", "")) == value for number in numbers)
    text = re.escape(str(value))
    whole = rf"(?<!\w){text}(?:(?!\w)|(?=\d))"
    return len(str(value)) > 1 and bool(re.search(whole, request, re.IGNORECASE))


def _stands_for(value: Any, named: Value, evidence: Evidence) -> bool:
    """Whether the value is the named one: a form or code of it, a date written another way."""
    forms = (named.said, *named.forms)
    if evidence.parameter.entity.coded and is_number(value):
        # The number means something to the tool only: the result must say what.
        shown = find(evidence.observation, evidence.parameter)
        return any(named.said.casefold() in item.value.names for item in shown)
    text = str(value)
    day = next(filter(None, (read_date(str(form)) for form in forms)), None)
    if day is not None:  # before the forms, as 05/08 is another day where the month comes first
        return text == named.said or _read_date(text, evidence) == day
    if any(_same(form, value) for form in forms):
        return True
    if is_number(value) or names_another(text, named, evidence.parameter):
        return False
    enough = 1.0 if re.search(r"\d", text) else LIKE_ENOUGH
    return any(likeness(form, text) >= enough for form in forms)


def _same(form: Any, value: Any) -> bool:
    if is_number(value):
        return bool(form == value) or str(form).replace(",", "") == str(value)
    return str(form).casefold() == str(value).casefold()


def _read_date(text: str, evidence: Evidence) -> dt.date | None:
    """Return the date that is written in any way; the month comes first only where documented."""
    documented = f"{evidence.parameter.about} {evidence.parameter.description}"
    month_first = pattern("descriptions", "month first").search(documented)
    return read_date(text, "month first" if month_first else "day first", "other")

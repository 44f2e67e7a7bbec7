"""Words tests of other kinds, and judges what should be done with a request.

Both are asked apart: who judges sees tools and a request, and nothing of how it was made. A need is
told by putting a situation before the wish; what the thing is called otherwise is not known here.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ste_ray.simulated_provider.teacher.conversation import text_of
from ste_ray.simulated_provider.teacher.dates import read_date, written_dates
from ste_ray.simulated_provider.teacher.imagining import imagine
from ste_ray.simulated_provider.teacher.lessons import Lessons, ranked_forms
from ste_ray.simulated_provider.teacher.loading import data, pattern
from ste_ray.simulated_provider.teacher.mentions import Mention
from ste_ray.simulated_provider.teacher.phrasing import Wish, ask, other_form, vary, wish_of
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool, read_tools
from ste_ray.simulated_provider.teacher.slot_filling import fill
from ste_ray.simulated_provider.teacher.tool_choice import rarity_of, worth
from ste_ray.simulated_provider.teacher.words import capitalise, fix_articles, stems

_REQUEST = re.compile(r"The request:\n(?P<request>[\s\S]*?)\n\n(?:Its call|The argument|Reply in)")
_OPEN = re.compile(r"The argument to leave open: (?P<name>.+)\nIt is told by: (?P<written>.+)")
_EARLIER = re.compile(r"may be repeated:\n(?P<listed>[\s\S]*)")
_PLAIN_WORD = re.compile(r"(?<![\w-])[a-z]{6,}(?![\w-])")
_RELATIVE = re.compile(r"\bthe day (?P<way>after|before) (?P<date>\d{1,2} [A-Z][a-z]+ \d{4})\b")
_GROUPED = re.compile(r"\d{4,}")
_VARIED = 0.5
_OTHER_FORM = 0.7  # how often a value is said another way
_RELATIVE_DAYS = 0.3  # of the dates
_DRAFTS = 12


def write_test(messages: Sequence[dict[str, Any]], rng: random.Random) -> str:
    """Return the request of a test, as the first message asks for it."""
    prompt = text_of(messages[0])
    tools, match = read_tools(prompt), _REQUEST.search(prompt)
    request = match["request"].strip() if match else ""
    if not tools:
        return "I need the documentation of a tool for that."
    if prompt.startswith("Write a request that no tool fits"):
        return _near_miss(tools[0], prompt, rng)
    if prompt.startswith("Take a value out"):
        return _left_open(tools[0], request, prompt, rng)
    if prompt.startswith("Reword a request as a need"):
        return _need(request, rng)
    if prompt.startswith("Reword a request as people talk"):
        return _as_people_talk(tools[0], request, rng)
    return _reworded(tools[0], request, rng)


def check_test(messages: Sequence[dict[str, Any]]) -> str:
    """Return what should be done with the request in the first message."""
    prompt = text_of(messages[0])
    tools, match = read_tools(prompt), _REQUEST.search(prompt)
    if not tools or match is None:
        return "None: there are no tools, or there is no request"
    request = _without_relative_days(match["request"].strip())
    if pattern("tests", "asks about").search(request):
        return "None: the request is about a thing, and asks for no result of it"
    rarity = rarity_of(tools)
    best = max(tools, key=lambda tool: worth(tool, request, rarity))
    found = fill(best, request)
    if not found and not stems(request) & stems(f"{best.name} {best.description}"):
        return "None: none of the tools is about that"
    missing = [
        item.name
        for item in best.parameters
        if item.required and item.name not in found and "default" not in item.schema
    ]
    if missing:
        return f"Ask: {best.name}, {' and '.join(missing)}"
    arguments = json.dumps(_arguments(best, found), ensure_ascii=False)
    return f"Action: {best.name}\nAction Input: {arguments}"


def _arguments(tool: Tool, found: Mapping[str, Mention]) -> dict[str, Any]:
    """Return the likeliest form of each value, by what is documented alone."""
    chosen = {}
    for parameter in tool.parameters:
        if parameter.name in found:
            forms = ranked_forms(found[parameter.name].value, parameter, Lessons())
            if forms:
                chosen[parameter.name] = forms[0]
    return chosen


def _values(tool: Tool, request: str) -> list[str]:
    return [request[one.start : one.end] for one in fill(tool, request).values()]


def _reworded(tool: Tool, request: str, rng: random.Random) -> str:
    """Return a request in another form and other words, its values as they are."""
    wish, values = wish_of(request), _values(tool, request)
    for _ in range(_DRAFTS):
        text = ask(other_form(Wish(wish.form, vary(wish.text, rng, _VARIED, values)), rng), rng)
        if text != request:
            return text
    return f"Once again: {request}"


def _as_people_talk(tool: Tool, request: str, rng: random.Random) -> str:
    told = _other_values(tool, request, rng)
    text = _misspelt(_reworded(tool, told, rng), _values(tool, told), rng)
    closing = f" {rng.choice(data('tests')['closings'])}" if rng.random() < _VARIED else ""
    return f"{rng.choice(data('tests')['openings'])} {text}{closing}"


def _other_values(tool: Tool, request: str, rng: random.Random) -> str:
    """Return a request with values in other forms, as far as they are read as the same again."""
    parameters = {item.name: item for item in tool.parameters}
    mentions = sorted(fill(tool, request).items(), key=lambda item: -item[1].start)
    for name, mention in mentions:
        said = request[mention.start : mention.end]
        other = _said_otherwise(said, parameters[name], rng)
        if other == said or rng.random() >= _OTHER_FORM:
            continue
        text = request[: mention.start] + other + request[mention.end :]
        again = fill(tool, _without_relative_days(text)).get(name)
        if again is not None and again.value.names & mention.value.names:
            request = text
    return request


def _said_otherwise(said: str, parameter: Parameter, rng: random.Random) -> str:
    entity = parameter.entity
    if entity.reads == "date" and (day := read_date(said)):
        if rng.random() < _RELATIVE_DAYS:
            way, days = rng.choice(sorted(data("tests")["relative days"].items()))
            told = day - dt.timedelta(days)
            return f"the day {way} {written_dates(told, 'forms')[1]}"
        return rng.choice([form for form in written_dates(day, "forms")[:3] if form != said])
    if entity.reads == "number" and _GROUPED.fullmatch(said):
        return f"{int(said):,}"
    row = entity.rows.get(said)
    return rng.choice([form for form in row[:2] if form != said] or [said]) if row else said


def _without_relative_days(text: str) -> str:
    """Return a text with days that are told from another one as dates."""

    def day(match: re.Match[str]) -> str:
        told = read_date(match["date"])
        days = data("tests")["relative days"][match["way"]]
        return (told + dt.timedelta(days)).isoformat() if told else match[0]

    return _RELATIVE.sub(day, text)


def _misspelt(text: str, values: Sequence[str], rng: random.Random) -> str:
    """Return a text with two letters of one ordinary word in the wrong order."""
    folded = " ".join(values).casefold()
    words = [match for match in _PLAIN_WORD.finditer(text) if match[0] not in folded]
    if not words:
        return text
    word = rng.choice(words)
    at = word.start() + rng.randrange(1, len(word[0]) - 2)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _need(request: str, rng: random.Random) -> str:
    wish = other_form(wish_of(request), rng)
    situation = rng.choice(data("tests")["situations"])
    return f"{situation} {_filled('needs', wish, rng)}"


def _left_open(tool: Tool, request: str, prompt: str, rng: random.Random) -> str:
    match = _OPEN.search(prompt)
    if match is None:
        return request
    named = (item for item in tool.parameters if item.name == match["name"].strip())
    parameter = next(named, None)
    label = parameter.short_label if parameter else "value"
    phrase = rng.choice(data("tests")["left open"]).format(l=label)
    said = re.escape(match["written"].strip())
    written = re.compile(rf"\"{said}\"|(?<!\w){said}(?!\w)", re.IGNORECASE)
    return fix_articles(capitalise(written.sub(lambda _: phrase, request)))


def _near_miss(tool: Tool, prompt: str, rng: random.Random) -> str:
    listed = _EARLIER.search(prompt)
    earlier = listed["listed"] if listed else ""
    text = ""
    for _ in range(_DRAFTS):
        text = _filled("about", wish_of(imagine(tool, [], Lessons(), rng)), rng)
        if text not in earlier:
            break
    return text


def _filled(kind: str, wish: Wish, rng: random.Random) -> str:
    return str(rng.choice(data("tests")[kind][wish.form or "other"]).replace("{core}", wish.text))

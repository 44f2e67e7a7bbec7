"""The judge: three verdicts on a call and a reply, by rules that a reader can check."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ste_ray.simulated_provider.teacher.concluding import is_failure_answer
from ste_ray.simulated_provider.teacher.error_reading import is_error
from ste_ray.simulated_provider.teacher.filling import VAGUE, fill
from ste_ray.simulated_provider.teacher.following import Evidence, follows
from ste_ray.simulated_provider.teacher.lexicon import kind_of
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool, read_tools
from ste_ray.simulated_provider.teacher.words import content_words, stem

_SECTIONS = re.compile(
    r"The request:\n(?P<request>[\s\S]*?)\n\nThe call:\nAction: (?P<tool>.*)\n"
    r"Action Input: (?P<arguments>[\s\S]*?)\n\nWhat the tool returned:\n(?P<observation>[\s\S]*?)"
    r"\n\nThe reply to the person:\n(?P<reply>[\s\S]*?)\n\nAnswer three questions"
)
# Sentences of the reply's own that carry no fact.
_TOKEN = re.compile(r"[A-Za-z]*\d[\w.:/-]*\w|\d|\b[A-Z]{2,}[\w/]*\b|\b[A-Z]\w+/\w+")
_LONG = 6  # from this length on, a token is looked for in running text too
_WHOLE = re.compile(r"[\W_]+")


def judge(prompt: str) -> str:
    """Return three lines of verdicts on the sections of a judge's prompt."""
    match = _SECTIONS.search(prompt)
    if match is None:
        return _lines("the sections cannot be read", "nothing to compare", "nothing to compare")
    tools = read_tools(prompt[: match.start()])
    arguments = _arguments(match["arguments"])
    return _lines(
        _uninformative(match["reply"]),
        _unfaithful(match["reply"], match["observation"], match["request"]),
        "the arguments cannot be read"
        if arguments is None or not tools
        else _inappropriate(tools[0], arguments, match["request"], match["observation"]),
    )


def _arguments(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _lines(uninformative: str, unfaithful: str, inappropriate: str) -> str:
    rows = (
        ("Informative", uninformative, "the reply gives what was asked for"),
        ("Faithful", unfaithful, "the reply says what the tool returned"),
        ("Appropriate", inappropriate, "the arguments follow from the request"),
    )
    return "\n".join(
        f"{name}: No - {fault}" if fault else f"{name}: Yes - {praise}"
        for name, fault, praise in rows
    )


def _uninformative(reply: str) -> str:
    if is_failure_answer(reply):
        return "the reply is an excuse"
    return ""


def _unfaithful(reply: str, observation: str, request: str) -> str:
    if is_error(observation):
        return "the tool returned no result"
    sources = f"{observation} {request}".casefold()
    known = {_WHOLE.sub("", token.casefold()) for token in _TOKEN.findall(sources)}
    known |= set(re.findall(r"\w+", sources))
    squeezed = _WHOLE.sub("", sources)
    for token in _TOKEN.findall(reply):
        plain = _WHOLE.sub("", token.casefold())
        if plain not in known and (len(plain) < _LONG or plain not in squeezed):
            return f"{token} does not stand in what the tool returned"
    return ""


def _inappropriate(tool: Tool, arguments: Mapping[str, Any], request: str, observation: str) -> str:
    parameters = {parameter.name: parameter for parameter in tool.parameters}
    named = fill(tool, request)
    for name, value in arguments.items():
        parameter = parameters.get(name)
        if parameter is None:
            return f"{name} is no argument of the tool"
        evidence = Evidence(tool, parameter, request, observation, named)
        if not follows(value, evidence):
            return f"{value!r} does not follow from the request"
    for parameter in tool.parameters:
        if parameter.name not in arguments and _asked_but_left_out(parameter, tool, request):
            return f"the request asks for more than the call gives: {parameter.description}"
    wanted = {stem(word) for word in content_words(tool.description)}
    asked = {stem(word) for word in content_words(request)}
    if wanted and not wanted & asked and not arguments:
        return "the tool is not what the request is about"
    return ""


def _asked_but_left_out(parameter: Parameter, tool: Tool, request: str) -> bool:
    """Whether the request names a value of a kind that only this parameter takes."""
    kind = kind_of(parameter, tool)
    if kind.name in (*VAGUE, "flag", "choice") or parameter.required:
        return False
    same = [item for item in tool.parameters if kind_of(item, tool) is kind]
    return len(same) == 1 and bool(kind.find(request, parameter))

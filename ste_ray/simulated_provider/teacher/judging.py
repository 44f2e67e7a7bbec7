"""The judge: verdicts on calls, replies and final answers, by rules that a reader can check."""

from __future__ import annotations

import json
import re
from typing import Any

from ste_ray.simulated_provider.teacher.concluding import is_failure_answer
from ste_ray.simulated_provider.teacher.conversation import json_at
from ste_ray.simulated_provider.teacher.error_reading import is_error
from ste_ray.simulated_provider.teacher.following import Evidence, follows
from ste_ray.simulated_provider.teacher.loading import pattern
from ste_ray.simulated_provider.teacher.mentions import find
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool, read_tools
from ste_ray.simulated_provider.teacher.slot_filling import fill
from ste_ray.simulated_provider.teacher.words import stems

_SECTIONS = re.compile(
    r"The request:\n(?P<request>[\s\S]*?)\n\nThe call:\nAction: (?P<tool>.*)\n"
    r"Action Input: (?P<arguments>[\s\S]*?)\n\nWhat the tool returned:\n(?P<observation>[\s\S]*?)"
    r"\n\nThe reply to the person:\n(?P<reply>[\s\S]*?)\n\nAnswer three questions"
)
_COMPARED = re.compile(
    r"The right arguments:\n(?P<gold>[\s\S]*?)\n\nThe other arguments:\n(?P<predicted>[\s\S]*?)"
    r"\n\nThey differ in: (?P<names>.*)\n"
)
_ANSWERED = re.compile(
    r"The request:\n(?P<request>[\s\S]*?)\n\nThe call:\n[\s\S]*?\n\nWhat the tool returned:\n"
    r"(?P<observation>[\s\S]*?)\n\nThe final answer:\n(?P<answer>[\s\S]*?)\n\nYou decide what"
)
# What a reply may not make up: numbers, codes, names of paths.
_TOKEN = re.compile(r"[A-Za-z]*\d[\w.:/-]*\w|\d|\b[A-Z]{2,}[\w/]*\b|\b[A-Z]\w+/\w+")
_LONG = 6  # from this length on, a token is looked for in running text too
_MORE = re.compile(r"\band (\d{1,9}) more\b")  # of a list that is not told in full
_PART_OF_NAME = re.compile(r"[^\W_]+")
_CAPITAL_WITHIN = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MARKS = re.compile(r"[\W_]+")


def judge(prompt: str) -> str:
    """Return three lines of verdicts on the sections of a judge's prompt."""
    match = _SECTIONS.search(prompt)
    if match is None:
        return _lines("the sections cannot be read", "nothing to compare", "nothing to compare")
    request, observation = match["request"], match["observation"]
    return _lines(
        "the reply is an excuse" if is_failure_answer(match["reply"]) else "",
        _unfaithful(match["reply"], observation, request),
        _inappropriate(
            read_tools(prompt[: match.start()]), match["arguments"], request, observation
        ),
    )


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


def _unfaithful(reply: str, observation: str, request: str) -> str:
    if is_error(observation):
        return "the tool returned no result"
    return _invented(reply, observation, request)


def _invented(reply: str, observation: str, request: str) -> str:
    """Name a number or code of a reply that nobody gave; empty: there is none."""
    sources = f"{observation} {request}".casefold()
    known = {_MARKS.sub("", token.casefold()) for token in _TOKEN.findall(sources)}
    known.update(re.findall(r"\w+", sources))
    known.update(_PART_OF_NAME.findall(_CAPITAL_WITHIN.sub(" ", observation).casefold()))
    squeezed = _MARKS.sub("", sources)
    counted = _longest_list(json_at(observation))
    told = _MORE.sub(lambda match: "" if int(match[1]) < counted else match[0], reply)
    for token in _TOKEN.findall(told):
        plain = _MARKS.sub("", token.casefold())
        if plain not in known and (len(plain) < _LONG or plain not in squeezed):
            return f"{token} does not stand in what the tool returned"
    return ""


def _longest_list(value: Any) -> int:
    """Return how many values the longest list in a JSON value holds."""
    longest, left = 0, [value]
    while left:  # no recursion: it may be nested as deep as JSON can be read
        one = left.pop()
        if isinstance(one, list):
            longest = max(longest, len(one))
        if isinstance(one, dict | list):
            left.extend(one.values() if isinstance(one, dict) else one)
    return longest


def _leaves(observation: str) -> list[Any]:
    """Return the values that a tool returned, without null; a text that is no JSON as one."""
    found: list[Any] = []
    left = [observation if (value := json_at(observation)) is None else value]
    while left:
        one = left.pop()
        if isinstance(one, list | dict):
            left.extend(one.values() if isinstance(one, dict) else one)
        elif one is not None:
            found.append(one)
    return found


def _inappropriate(tools: tuple[Tool, ...], text: str, request: str, observation: str) -> str:
    arguments = json_at(text)
    if not tools or not isinstance(arguments, dict):
        return "the arguments cannot be read"
    named = fill(tools[0], request)
    parameters = {parameter.name: parameter for parameter in tools[0].parameters}
    for name, value in arguments.items():
        if name not in parameters:
            return f"{name} is no argument of the tool"
        if not follows(value, Evidence(parameters[name], request, observation, named)):
            return f"{value!r} does not follow from the request"
    for name, parameter in parameters.items():
        if name not in arguments and _asked_for(parameter, tools[0], request):
            return f"the request asks for more than the call gives: {parameter.description}"
    wanted = stems(tools[0].description)
    if not arguments and wanted and not wanted & stems(request):
        return "the tool is not what the request is about"
    return ""


def _asked_for(parameter: Parameter, tool: Tool, request: str) -> bool:
    """Whether the request names a value of a type that only this optional parameter takes."""
    entity = parameter.entity
    if entity.vague or entity.name in ("flag", "choice") or parameter.required:
        return False
    taken = fill(tool, request).values()
    free = [item for item in find(request, parameter) if not any(map(item.overlaps, taken))]
    return bool(free) and sum(item.entity is entity for item in tool.parameters) == 1


def score(prompt: str) -> str:
    """Return a verdict and a reason on the sections of a scorer's prompt."""
    match = _COMPARED.search(prompt)
    if match is None:
        return _verdict("Unsure", "the sections cannot be read")
    try:
        gold, predicted = json.loads(match["gold"]), json.loads(match["predicted"])
    except ValueError:
        return _verdict("Unsure", "the arguments cannot be read")
    for name in match["names"].split(", "):
        right, other = _meaning(gold.get(name)), _meaning(predicted.get(name))
        if not right or not other:
            return _verdict("Unsure", f"{name} holds no words to compare")
        if right != other:
            return _verdict("Different", f"{name} does not say the same")
    return _verdict("Same", "the values have the same words")


def _meaning(value: Any) -> frozenset[str]:
    text = value if isinstance(value, str) else json.dumps(value)
    return stems(text) | frozenset(re.findall(r"\d+", text))


def _verdict(verdict: str, reason: str) -> str:
    return f"Verdict: {verdict}\nReason: {reason}"


def score_answer(prompt: str) -> str:
    """Return a verdict and a reason on a final answer, by the sections of a scorer's prompt."""
    match = _ANSWERED.search(prompt)
    if match is None:
        return _verdict("Unsure", "the sections cannot be read")
    answer, observation = match["answer"], match["observation"]
    if is_failure_answer(answer):
        return _verdict("Unanswered", "the answer is an excuse")
    if invented := _invented(answer, observation, match["request"]):
        return _verdict("Unsupported", invented)
    leaves = _leaves(observation)
    said = {leaf for leaf in leaves if isinstance(leaf, bool)}
    denies = pattern("answers", "negations").search(answer) is not None
    if len(said) == 1 and denies in said:
        return _verdict("Unsupported", "the answer says the opposite of what the tool returned")
    if said or any(_meaning(leaf) & _meaning(answer) for leaf in leaves):
        return _verdict("Supported", "the answer says what the tool returned")
    if not leaves and denies:
        return _verdict("Supported", "the tool returned nothing, and the answer says so")
    return _verdict("Unanswered", "the answer says nothing of what the tool returned")

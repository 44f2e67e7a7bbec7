"""Finds the values of a request's text again, and gives each parameter its own."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType

from ste_ray.simulated_provider.teacher.kind import Found, Kind
from ste_ray.simulated_provider.teacher.lexicon import kind_of
from ste_ray.simulated_provider.teacher.phrases import Role, label_of, roles
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool
from ste_ray.simulated_provider.teacher.words import content_words, stem

_FROM_WORDS = {"from", "of", "between", "starting", "beginning", "after", "since"}
_TO_WORDS = {"to", "into", "and", "until", "in"}
# A value of these kinds may be anything: an optional one must be introduced by its own words.
VAGUE = ("number", "other number", "text", "bank", "branch", "account", "digits")
_MISSING = -20.0
_MAX_CANDIDATES = 6


@functools.lru_cache(maxsize=1024)  # a request is filled in anew in each turn that answers it
def fill(tool: Tool, request: str) -> Mapping[str, Found]:
    """Return the value found for each parameter, by its name; those without one are left out."""
    wanted = [(item, kind_of(item, tool)) for item in tool.parameters]
    candidates = [
        _candidates(item, kind, role, request)
        for (item, kind), role in zip(wanted, roles(wanted), strict=True)
    ]
    _, chosen = _assign(0, wanted, candidates, [])
    return MappingProxyType(
        {
            parameter.name: found
            for (parameter, _), found in zip(wanted, chosen, strict=True)
            if found is not None
        }
    )


def _candidates(
    parameter: Parameter, kind: Kind, role: Role, request: str
) -> list[tuple[float, Found]]:
    found = kind.find(request, parameter)
    scored = [(_score(parameter, kind, role, item, request), item) for item in found]
    scored.sort(key=lambda pair: (-pair[0], pair[1].start))
    if not parameter.required and kind.name in VAGUE:
        scored = [pair for pair in scored if pair[0] >= 1]
    return scored[:_MAX_CANDIDATES]


def _score(parameter: Parameter, kind: Kind, role: Role, found: Found, request: str) -> float:
    """How well the words around a found value fit the parameter."""
    before = re.findall(r"[A-Za-z']+|[.,;:]", request[: found.start])[-5:]
    after = re.findall(r"[A-Za-z']+", request[found.end :])[:2]
    last = before[-1].lower() if before else ""
    score = 0.0
    if role:
        own, other = (_FROM_WORDS, _TO_WORDS) if role == "from" else (_TO_WORDS, _FROM_WORDS)
        score += 2 * (last in own) - 2 * (last in other)
    label = {stem(word) for word in content_words(label_of(parameter, kind))}
    near = {stem(word) for word in content_words(" ".join(before[-4:]))}
    near_after = {stem(word) for word in content_words(" ".join(after))}
    if label:
        score += 3 * len(label & near) / len(label) + 1.5 * len(label & near_after) / len(label)
    if kind.name == "day count" and near_after & {
        "day",
        "week",
        "month",
        "year",
        "hour",
        "workday",
    }:
        score += 3
    score += 0.02 * (found.end - found.start)  # the longer of two readings is the likelier one
    return score - 0.0005 * found.start


def _assign(
    index: int,
    wanted: list[tuple[Parameter, Kind]],
    candidates: list[list[tuple[float, Found]]],
    taken: list[Found],
) -> tuple[float, list[Found | None]]:
    """Return the best total score and choice for the parameters from ``index`` on."""
    if index == len(wanted):
        return 0.0, []
    total, rest = _assign(index + 1, wanted, candidates, taken)
    best = total + (_MISSING if wanted[index][0].required else _MISSING / 4)
    chosen: list[Found | None] = [None, *rest]
    for score, found in candidates[index]:
        if any(found.start < other.end and other.start < found.end for other in taken):
            continue
        total, rest = _assign(index + 1, wanted, candidates, [*taken, found])
        if total + score > best:
            best, chosen = total + score, [found, *rest]
    return best, chosen

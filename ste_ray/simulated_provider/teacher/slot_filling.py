"""Finds the values of a request's text again, and gives each parameter its own."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ste_ray.simulated_provider.teacher.loading import data, pattern
from ste_ray.simulated_provider.teacher.mentions import Mention, find
from ste_ray.simulated_provider.teacher.schema import Parameter, Role, Tool, roles
from ste_ray.simulated_provider.teacher.words import stems

_MISSING = -20.0
_MAX_CANDIDATES = 6


@functools.lru_cache(maxsize=1024)  # a request is filled in anew in each turn that answers it
def fill(tool: Tool, request: str) -> Mapping[str, Mention]:
    """Return the value found for each parameter, by its name; those without one are left out."""
    pairs = zip(tool.parameters, roles(tool.parameters), strict=True)
    candidates = [(item, _candidates(item, role, request)) for item, role in pairs]
    return MappingProxyType(_assign(candidates, [])[1])


def _candidates(parameter: Parameter, role: Role, request: str) -> list[tuple[float, Mention]]:
    found = find(request, parameter)
    scored = [(_score(parameter, role, item, request), item) for item in found]
    scored.sort(key=lambda pair: (-pair[0], pair[1].start))
    if not parameter.required and parameter.entity.vague:
        scored = [pair for pair in scored if pair[0] >= 1]
    return scored[:_MAX_CANDIDATES]


def _score(parameter: Parameter, role: Role, found: Mention, request: str) -> float:
    """How well the words around a found value fit the parameter."""
    before = re.findall(r"[A-Za-z']+|[.,;:]", request[: found.start])[-5:]
    after = re.findall(r"[A-Za-z']+", request[found.end :])[:2]
    score = 0.02 * (found.end - found.start) - 0.0005 * found.start  # the longer, the earlier
    if role and before:
        other, last = "to" if role == "from" else "from", before[-1].lower()
        words = data("descriptions")
        score += 2 * (last in words[f"{role} words"]) - 2 * (last in words[f"{other} words"])
    label = stems(parameter.label)
    if label:
        near, near_after = stems(" ".join(before[-4:])), stems(" ".join(after))
        score += (3 * len(label & near) + 1.5 * len(label & near_after)) / len(label)
    is_count = parameter.entity.reads == "count"
    if is_count and pattern("descriptions", "time units").search(" ".join(after)):
        score += 3
    return score


def _assign(
    candidates: Sequence[tuple[Parameter, list[tuple[float, Mention]]]], taken: list[Mention]
) -> tuple[float, dict[str, Mention]]:
    """Return the best total score and choice for these parameters."""
    if not candidates:
        return 0.0, {}
    (parameter, scored), *others = candidates
    best, chosen = _assign(others, taken)
    best += _MISSING if parameter.required else _MISSING / 4
    for score, found in scored:
        if not any(map(found.overlaps, taken)):
            total, rest = _assign(others, [*taken, found])
            if total + score > best:
                best, chosen = total + score, {parameter.name: found, **rest}
    return best, chosen

"""Finds the values of a request's text again, and gives each parameter its own."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType

from ste_ray.simulated_provider.teacher.descriptions import Role, entity_of, label_of, roles
from ste_ray.simulated_provider.teacher.entities import EntityType, Mention, find
from ste_ray.simulated_provider.teacher.loading import data, pattern
from ste_ray.simulated_provider.teacher.schema import Parameter, Tool
from ste_ray.simulated_provider.teacher.words import stems

_MISSING = -20.0
_MAX_CANDIDATES = 6
_Wanted = list[tuple[Parameter, EntityType]]
_Candidates = list[list[tuple[float, Mention]]]


@functools.lru_cache(maxsize=1024)  # a request is filled in anew in each turn that answers it
def fill(tool: Tool, request: str) -> Mapping[str, Mention]:
    """Return the value found for each parameter, by its name; those without one are left out."""
    wanted = [(item, entity_of(item, tool)) for item in tool.parameters]
    candidates = [
        _candidates(item, entity, role, request)
        for (item, entity), role in zip(wanted, roles(wanted), strict=True)
    ]
    _, chosen = _assign(0, wanted, candidates, [])
    pairs = zip(wanted, chosen, strict=True)
    return MappingProxyType({item.name: found for (item, _), found in pairs if found is not None})


def _candidates(
    parameter: Parameter, entity: EntityType, role: Role, request: str
) -> list[tuple[float, Mention]]:
    found = find(entity, request, parameter)
    scored = [(_score(parameter, entity, role, item, request), item) for item in found]
    scored.sort(key=lambda pair: (-pair[0], pair[1].start))
    if not parameter.required and entity.vague:
        scored = [pair for pair in scored if pair[0] >= 1]
    return scored[:_MAX_CANDIDATES]


def _score(
    parameter: Parameter, entity: EntityType, role: Role, found: Mention, request: str
) -> float:
    """How well the words around a found value fit the parameter."""
    before = re.findall(r"[A-Za-z']+|[.,;:]", request[: found.start])[-5:]
    after = re.findall(r"[A-Za-z']+", request[found.end :])[:2]
    score = 0.02 * (found.end - found.start) - 0.0005 * found.start  # the longer, the earlier
    if role and before:
        lists = data("descriptions")
        other = "to" if role == "from" else "from"
        last = before[-1].lower()
        score += 2 * (last in lists[f"{role} words"]) - 2 * (last in lists[f"{other} words"])
    label = stems(label_of(parameter, entity))
    if label:
        near, near_after = stems(" ".join(before[-4:])), stems(" ".join(after))
        score += (3 * len(label & near) + 1.5 * len(label & near_after)) / len(label)
    if entity.reads == "count" and pattern("descriptions", "time units").search(" ".join(after)):
        score += 3
    return score


def _assign(
    index: int, wanted: _Wanted, candidates: _Candidates, taken: list[Mention]
) -> tuple[float, list[Mention | None]]:
    """Return the best total score and choice for the parameters from ``index`` on."""
    if index == len(wanted):
        return 0.0, []
    total, rest = _assign(index + 1, wanted, candidates, taken)
    best = total + (_MISSING if wanted[index][0].required else _MISSING / 4)
    chosen: list[Mention | None] = [None, *rest]
    for score, found in candidates[index]:
        if any(found.overlaps(other) for other in taken):
            continue
        total, rest = _assign(index + 1, wanted, candidates, [*taken, found])
        if total + score > best:
            best, chosen = total + score, [found, *rest]
    return best, chosen

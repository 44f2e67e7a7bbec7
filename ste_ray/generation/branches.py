"""Where prompts part: the beginnings that several of them share, found in a prefix tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Tokens = Sequence[int]


def branch_points(prompts: Sequence[Tokens], min_saved: int) -> list[tuple[int, ...]]:
    """Return for each prompt the lengths, growing, of its beginnings that others share.

    Computed once each, every beginning spares at least ``min_saved`` tokens: those that it has
    beyond the beginning before it, once for every prompt but the first. The last token of a prompt
    is never part of one, so that there is something left to compute.

    Args:
        prompts: token ids.
        min_saved: below this a beginning is not worth a pass of its own.
    """
    points: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda place: tuple(prompts[place]))
    waiting = [(order, 0)] if order else []
    while waiting:
        group, start = waiting.pop()
        # In a sorted group the first and the last differ soonest.
        length = _common(prompts[group[0]], prompts[group[-1]])
        shared = min(length, min(len(prompts[place]) for place in group) - 1)
        if shared > start and (len(group) - 1) * (shared - start) >= min_saved:
            for place in group:
                points[place].append(shared)
            start = shared
        waiting += [(branch, start) for branch in _branches(prompts, group, length)]
    return [tuple(found) for found in points]


def _common(one: Tokens, other: Tokens) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _branches(prompts: Sequence[Tokens], group: Sequence[int], length: int) -> Iterator[list[int]]:
    """Split a group whose common beginning has ``length`` tokens by the next one."""
    by_token: dict[int, list[int]] = {}
    for place in group:
        if len(prompts[place]) > length:
            by_token.setdefault(prompts[place][length], []).append(place)
    return (branch for branch in by_token.values() if len(branch) > 1)

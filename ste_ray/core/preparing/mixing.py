"""What is drawn: the examples that a round replays, and those whose final answer is trained.

Samples are drawn by hash, not by a random generator: who is drawn depends on the seed, the draw
and the example alone, so that rows may be looked at in any order and on any machine.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def replay_quotas(counts: Mapping[str, int], fraction: float) -> dict[str, int]:
    """Return how many examples of each tool of an earlier round are replayed.

    Together they are ``round(fraction * total)``, half away from zero; each tool has its share to
    within one example (the largest remainders are rounded up; of equal ones, those of the names
    that come first).

    Args:
        counts: tool -> number of its training examples.
        fraction: of the examples, 0 to 1.
    """
    exact = {tool: count * fraction for tool, count in counts.items()}
    quotas = {tool: math.floor(share + 1e-9) for tool, share in exact.items()}
    total = math.floor(sum(counts.values()) * fraction + 0.5 + 1e-9)
    order = sorted(exact, key=lambda tool: (quotas[tool] - exact[tool], tool))
    for tool in order[: total - sum(quotas.values())]:
        quotas[tool] += 1
    return quotas


def draw(keys: Iterable[str], number: int, seed: int, label: str) -> frozenset[str]:
    """Return ``number`` of ``keys``, or all, drawn by ``seed`` and ``label``."""
    ranked = sorted(set(keys), key=lambda key: (draw_number(key, seed, label), key))
    return frozenset(ranked[:number])


def draw_number(key: str, seed: int, label: str) -> int:
    """Return a number of 64 bits that ``key`` has in the draw ``label``."""
    digest = hashlib.sha256(f"{seed}:{label}:{key}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


def in_share(key: str, fraction: float, seed: int, label: str) -> bool:
    """Whether ``key`` is in the share that the draw ``label`` takes.

    Each key is drawn for itself: others that come or go change nothing, a larger share holds the
    smaller one, and any kind of keys has about its share.

    Args:
        key: what is drawn.
        fraction: the share, 0 to 1; 1 takes all.
        seed: of the draw.
        label: of the draw.
    """
    return draw_number(key, seed, label) < fraction * 2**64


def round_of(rounds: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return in which round each tool arrives."""
    return {tool: number for number, tools in enumerate(rounds) for tool in tools}

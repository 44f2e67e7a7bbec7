"""Training rows of the lengths that the study's data have, with random tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ste_ray.training.examples import TokenisedRow

VOCABULARY = 8000
MAX_TOKENS = 2048


@dataclass(frozen=True)
class Kind:
    """A kind of row: its share of the mix, quantiles of its length, and its mean number of labels.

    Lengths between the quantiles lie evenly on a logarithmic scale.
    """

    share: float
    lengths: dict[float, int]
    labels: int


# Measured on the study's files with a tokenizer of 8,000 tokens.
KINDS = {
    "tool call": Kind(7500, {0: 52, 0.5: 76, 0.9: 94, 0.99: 117, 1: 136}, 21),
    "final answer": Kind(7500, {0: 105, 0.5: 202, 0.9: 301, 0.99: 493, 1: 862}, 43),
    "general": Kind(2000, {0: 24, 0.5: 251, 0.9: 1090, 0.99: 2104, 1: 5963}, 37),
}


def rows_of(kind: str, number: int, rng: np.random.Generator) -> list[TokenisedRow]:
    """Return rows of one kind; those longer than the limit are left out, as training does."""
    settings = KINDS[kind]
    at = rng.random(number)
    lengths = np.exp(np.interp(at, list(settings.lengths), np.log(list(settings.lengths.values()))))
    labels = rng.poisson(settings.labels - 1, number) + 1
    return [
        TokenisedRow(
            f"{kind} {index}",
            rng.integers(0, VOCABULARY, int(length)),
            int(length) - min(int(count), int(length) // 2),
        )
        for index, (length, count) in enumerate(zip(lengths, labels, strict=True))
        if length <= MAX_TOKENS
    ]


def mixed_rows(number: int, seed: int = 0) -> list[TokenisedRow]:
    """Return rows of all kinds in the proportion of the study, in random order."""
    rng = np.random.default_rng(seed)
    total = sum(kind.share for kind in KINDS.values())
    rows = [
        row
        for name, kind in KINDS.items()
        for row in rows_of(name, round(number * kind.share / total), rng)
    ]
    return [rows[index] for index in rng.permutation(len(rows))]


def tool_call_rows(number: int, seed: int = 0) -> list[TokenisedRow]:
    """Return tool calls alone."""
    return rows_of("tool call", number, np.random.default_rng(seed))

"""Exact nearest neighbours by dot product, in batches of bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ste_ray.retrieval.encoder import Vectors

# Scores that are held at once: 64 MiB of float32, whatever the size of the corpus.
_SCORES_AT_ONCE = 2**24
# Matrix products differ in their last bits with the shape of the batch. Rounding keeps the ranking
# of equal items independent of it.
_DECIMALS = 5


@dataclass(frozen=True)
class Hit:
    """A row of the corpus and its similarity to the query."""

    index: int
    score: float


def top_k(
    queries: Vectors,
    corpus: Vectors,
    k: int,
    query_groups: Sequence[str] | None = None,
    corpus_groups: Sequence[str] | None = None,
) -> list[list[Hit]]:
    """Return for each query its ``k`` nearest rows of the corpus, best first.

    Equal scores are ordered by index. A query gets no row of its own group, and so fewer than ``k``
    where too few rows are left.

    Args:
        queries: Unit vectors, shape [number of queries, dimension].
        corpus: Unit vectors, shape [number of rows, dimension].
        k: How many rows to return at most.
        query_groups: The group of each query; given together with ``corpus_groups``.
        corpus_groups: The group of each row.
    """
    if not k or not len(corpus):
        return [[] for _ in queries]
    own, other = _numbered(query_groups, corpus_groups)
    batch_size = max(1, _SCORES_AT_ONCE // len(corpus))
    results: list[list[Hit]] = []
    for start in range(0, len(queries), batch_size):
        batch = slice(start, start + batch_size)
        scores = queries[batch] @ corpus.T
        np.round(scores, _DECIMALS, out=scores)
        if own is not None and other is not None:
            scores[own[batch, None] == other[None, :]] = -np.inf
        results.extend(_best(row, k) for row in scores)
    return results


def _best(scores: NDArray[np.float32], k: int) -> list[Hit]:
    size = min(k, len(scores))
    kth_best = np.partition(scores, -size)[-size]
    # All ties of the k-th are candidates; a stable sort then prefers the lower index.
    candidates = np.flatnonzero(scores >= kth_best)
    order = candidates[np.argsort(-scores[candidates], kind="stable")][:size]
    return [
        Hit(int(index), round(float(scores[index]), _DECIMALS))
        for index in order
        if scores[index] > -np.inf
    ]


def _numbered(
    query_groups: Sequence[str] | None, corpus_groups: Sequence[str] | None
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    if query_groups is None or corpus_groups is None:
        return None, None
    numbers = {group: number for number, group in enumerate(dict.fromkeys(corpus_groups))}
    # A group that the corpus does not know excludes nothing.
    own = np.asarray([numbers.get(group, -1) for group in query_groups], dtype=np.int64)
    other = np.asarray([numbers[group] for group in corpus_groups], dtype=np.int64)
    return own, other

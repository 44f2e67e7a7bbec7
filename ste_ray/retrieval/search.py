"""Nearest neighbours by dot product: exact in batches of bounded memory, or by an HNSW index.

The index (Malkov and Yashunin, 2018; of the faiss library) finds nearly all of the nearest rows in
a fraction of the time, and is worth building from about a million rows on.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ste_ray.errors import ConfigError
from ste_ray.retrieval.encoder import Vectors

MANY_ROWS = 1_000_000
# Scores that are held at once: 64 MiB of float32, whatever the size of the corpus.
_SCORES_AT_ONCE = 2**24
# Matrix products differ in their last bits with the shape of the batch. Rounding keeps the ranking
# of equal items independent of it.
_DECIMALS = 5
_LINKS = 32  # of a row in the index
_BREADTH = 128  # rows that a search in the index keeps in view


@dataclass(frozen=True)
class Hit:
    """A row of the corpus and its similarity to the query."""

    index: int
    score: float


class Corpus:
    """Vectors to search in; can be pickled and shared between processes.

    Args:
        vectors: unit vectors, shape [number of rows, dimension].
        groups: the group of each row; a query gets no row of its own group.
        search: ``exact``, ``hnsw``, or ``auto``: the index beyond ``MANY_ROWS`` rows.

    Raises:
        ConfigError: the index is wanted and faiss is not installed.
    """

    def __init__(
        self,
        vectors: Vectors,
        groups: Sequence[str] | None = None,
        search: Literal["auto", "exact", "hnsw"] = "auto",
    ) -> None:
        self.vectors = vectors
        self._group_numbers = {
            group: number for number, group in enumerate(dict.fromkeys(groups or ()))
        }
        self._groups = (
            None
            if groups is None
            else np.asarray([self._group_numbers[group] for group in groups], dtype=np.int64)
        )
        indexed = search == "hnsw" or (search == "auto" and len(vectors) > MANY_ROWS)
        self._index: bytes | None = _built(vectors) if indexed and len(vectors) else None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}

    def nearest(
        self, queries: Vectors, k: int, groups: Sequence[str] | None = None
    ) -> list[list[Hit]]:
        """Return for each query its ``k`` nearest rows, best first.

        Equal scores are ordered by index. A query gets no row of its own group, and so fewer than
        ``k`` where too few rows are left.

        Args:
            queries: unit vectors, shape [number of queries, dimension].
            k: how many rows to return at most.
            groups: the group of each query; None: nothing is excluded.
        """
        if not k or not len(self.vectors):
            return [[] for _ in queries]
        own = self._numbered(groups)
        if self._index is not None:
            return self._approximate(queries, k, own)
        results: list[list[Hit]] = []
        for batch, scores in self._scores(queries):
            if own is not None and self._groups is not None:
                scores[own[batch, None] == self._groups[None, :]] = -np.inf
            results.extend(_best(row, k) for row in scores)
        return results

    def _scores(self, queries: Vectors) -> Iterator[tuple[slice, Vectors]]:
        """Yield the rounded scores of batches of queries."""
        batch_size = max(1, _SCORES_AT_ONCE // len(self.vectors))
        for start in range(0, len(queries), batch_size):
            batch = slice(start, start + batch_size)
            scores = queries[batch] @ self.vectors.T
            np.round(scores, _DECIMALS, out=scores)
            yield batch, scores

    def _approximate(
        self, queries: Vectors, k: int, own: NDArray[np.int64] | None
    ) -> list[list[Hit]]:
        # More than wanted, because those of the own group are left out afterwards.
        size = min(len(self.vectors), 2 * k + 16)
        scores, places = self._opened.search(np.ascontiguousarray(queries), size)
        np.round(scores, _DECIMALS, out=scores)
        results = []
        for row in range(len(queries)):
            found = sorted(zip(-scores[row], places[row], strict=True))
            hits = [
                Hit(int(place), round(float(-negative), _DECIMALS))
                for negative, place in found
                if place >= 0
                and not (
                    own is not None and self._groups is not None and own[row] == self._groups[place]
                )
            ]
            results.append(hits[:k])
        return results

    @cached_property
    def _opened(self) -> Any:
        faiss = _faiss()
        assert self._index is not None
        index = faiss.deserialize_index(np.frombuffer(self._index, dtype=np.uint8))
        index.hnsw.efSearch = _BREADTH
        return index

    def _numbered(self, groups: Sequence[str] | None) -> NDArray[np.int64] | None:
        if groups is None or self._groups is None:
            return None
        # A group that the corpus does not know excludes nothing.
        return np.asarray([self._group_numbers.get(group, -1) for group in groups], dtype=np.int64)


def diverse(
    hits: Sequence[Hit],
    corpus: Corpus,
    tools: Sequence[str],
    k: int,
    *,
    diversity: float = 0.0,
    max_per_tool: int = 0,
) -> list[Hit]:
    """Choose ``k`` of the hits, best first, that do not all say the same.

    Maximal marginal relevance (Carbonell and Goldstein, 1998): each time the hit is taken whose
    similarity to the query, less ``diversity`` times the largest similarity to those taken before,
    is greatest.

    Args:
        hits: of one query, nearest first.
        corpus: where they lie.
        tools: the tool of each row of the corpus.
        k: how many to choose at most.
        diversity: 0: the nearest are taken.
        max_per_tool: of one tool; 0: any number.
    """
    chosen: list[Hit] = []
    counts: dict[str, int] = {}
    left = list(hits)
    likeness = np.zeros(len(left), dtype=np.float32)
    vectors = corpus.vectors[[hit.index for hit in left]] if diversity and left else None
    relevance = np.asarray([hit.score for hit in left], dtype=np.float32)
    open_places = np.ones(len(left), dtype=bool)
    while len(chosen) < k and open_places.any():
        worth = (1 - diversity) * relevance - diversity * likeness
        worth[~open_places] = -np.inf
        place = int(np.argmax(worth))
        open_places[place] = False
        hit = left[place]
        tool = tools[hit.index]
        if max_per_tool and counts.get(tool, 0) >= max_per_tool:
            continue
        counts[tool] = counts.get(tool, 0) + 1
        chosen.append(hit)
        if vectors is not None:
            likeness = np.maximum(likeness, vectors @ vectors[place])
    return chosen


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


def _built(vectors: Vectors) -> bytes:
    faiss = _faiss()
    index = faiss.IndexHNSWFlat(vectors.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _BREADTH
    index.add(np.ascontiguousarray(vectors))
    return bytes(faiss.serialize_index(index))


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise ConfigError(
            f"a search in more than {MANY_ROWS:,} examples needs faiss; install it with"
            " \"pip install 'ste-ray[embeddings]'\""
        ) from None

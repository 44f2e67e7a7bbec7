"""Exact and indexed retrieval for 10,000 queries, beside a plain numpy loop over the queries."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tables import Row

from ste_ray.retrieval.search import Corpus

_QUERIES, _ROWS, _DIMENSION, _K = 10_000, 100_000, 384, 8
_LOOP_QUERIES = 1_000  # the loop is timed on fewer, which all take the same time


def measure(folder: Path) -> list[Row]:
    """Find the nearest rows of the same vectors in each way."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2_000, _DIMENSION))
    corpus = _unit(centres[rng.integers(0, 2_000, _ROWS)] + rng.normal(size=(_ROWS, _DIMENSION)))
    queries = _unit(
        centres[rng.integers(0, 2_000, _QUERIES)] + rng.normal(size=(_QUERIES, _DIMENSION))
    )
    loop, expected = _timed(lambda: [_plain(one, corpus) for one in queries[:_LOOP_QUERIES]])
    exact, found = _timed(lambda: Corpus(corpus, search="exact").nearest(queries, _K))
    same = sum(
        {hit.index for hit in hits} == set(rows.tolist())
        for hits, rows in zip(found[:_LOOP_QUERIES], expected, strict=True)
    )
    built, index = _timed(lambda: Corpus(corpus, search="hnsw"))
    indexed, near = _timed(lambda: index.nearest(queries, _K))
    common = sum(
        len({hit.index for hit in one} & {hit.index for hit in other})
        for one, other in zip(found, near, strict=True)
    )
    by_loop = _LOOP_QUERIES / loop
    return [
        Row("plain numpy loop over the queries", f"{by_loop:,.0f} queries/s"),
        Row(
            f"exact, in batches: {_QUERIES:,} queries over {_ROWS:,} rows of {_DIMENSION}",
            f"{_QUERIES / exact / by_loop:.1f} × ({_QUERIES / exact:,.0f} queries/s; same rows:"
            f" {same} of {_LOOP_QUERIES})",
        ),
        Row(
            "HNSW index",
            f"{_QUERIES / indexed / by_loop:.1f} × ({_QUERIES / indexed:,.0f} queries/s;"
            f" {100 * common / (_K * _QUERIES):.1f} % of the nearest; built in {built:.0f} s)",
        ),
    ]


def _plain(query: np.ndarray, corpus: np.ndarray) -> np.ndarray:
    scores = corpus @ query
    nearest = np.argpartition(-scores, _K)[:_K]
    return nearest[np.argsort(-scores[nearest])]


def _timed(work: Callable[[], object]) -> tuple[float, object]:  # type: ignore[type-arg]
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)

"""Exact search: the same as sorting everything, ties by index, own group left out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from ste_ray.retrieval import search
from ste_ray.retrieval.encoder import Vectors
from ste_ray.retrieval.search import Corpus, Hit, diverse


def top_k(queries, corpus, k, query_groups=None, corpus_groups=None):
    return Corpus(corpus, corpus_groups).nearest(queries, k, query_groups)


def test_nearest_come_first() -> None:
    corpus = np.eye(3, dtype=np.float32)
    query = np.array([[0.6, 0.0, 0.8]], dtype=np.float32)
    assert top_k(query, corpus, 2) == [[Hit(2, 0.8), Hit(0, 0.6)]]


@pytest.mark.parametrize("scores_at_once", [1, 100, 10_000])
@pytest.mark.parametrize("k", [1, 5, 40, 60])
def test_equals_a_full_sort_with_many_ties(
    monkeypatch: pytest.MonkeyPatch, scores_at_once: int, k: int
) -> None:
    monkeypatch.setattr(search, "_SCORES_AT_ONCE", scores_at_once)
    queries, corpus = _small_integers(17, 1), _small_integers(40, 2)
    scores = queries @ corpus.T
    expected = [
        sorted(range(40), key=lambda index: (-row[index], index))[:k] for row in scores.tolist()
    ]
    assert [[hit.index for hit in hits] for hits in top_k(queries, corpus, k)] == expected


def test_order_of_equal_vectors_does_not_depend_on_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(3)
    corpus = np.repeat(_unit(random.normal(size=(30, 333))), 7, axis=0)
    queries = _unit(random.normal(size=(50, 333)))
    at_once = top_k(queries, corpus, 20)
    monkeypatch.setattr(search, "_SCORES_AT_ONCE", 1)
    assert [[hit.index for hit in hits] for hits in top_k(queries, corpus, 20)] == [
        [hit.index for hit in hits] for hits in at_once
    ]


def test_own_group_is_left_out() -> None:
    corpus = np.ones((5, 1), dtype=np.float32)
    hits = top_k(
        np.ones((3, 1), dtype=np.float32),
        corpus,
        3,
        query_groups=["a", "b", "unseen"],
        corpus_groups=["a", "b", "a", "c", "b"],
    )
    assert [[hit.index for hit in row] for row in hits] == [[1, 3, 4], [0, 2, 3], [0, 1, 2]]


def test_fewer_than_k_where_too_few_are_left() -> None:
    corpus = np.ones((3, 1), dtype=np.float32)
    query = np.ones((1, 1), dtype=np.float32)
    assert len(top_k(query, corpus, 9)[0]) == 3
    assert top_k(query, corpus, 2, ["a"], ["a", "a", "a"]) == [[]]


def test_nothing_to_find() -> None:
    query = np.ones((2, 4), dtype=np.float32)
    assert top_k(query, np.zeros((0, 4), dtype=np.float32), 3) == [[], []]
    assert top_k(query, query, 0) == [[], []]
    assert top_k(np.zeros((0, 4), dtype=np.float32), query, 3) == []


def test_the_index_finds_nearly_all_of_the_nearest():
    random = np.random.default_rng(5)
    centres = random.normal(size=(200, 64))
    corpus = _unit(np.repeat(centres, 20, axis=0) + 0.3 * random.normal(size=(4000, 64)))
    queries = _unit(centres[:50] + 0.3 * random.normal(size=(50, 64)))
    groups = [str(number % 7) for number in range(4000)]
    own = [str(number % 7) for number in range(50)]
    exact = Corpus(corpus, groups, "exact").nearest(queries, 8, own)
    indexed = pickle.loads(pickle.dumps(Corpus(corpus, groups, "hnsw")))
    found = indexed.nearest(queries, 8, own)
    common = sum(
        len({hit.index for hit in one} & {hit.index for hit in other})
        for one, other in zip(exact, found, strict=True)
    )
    assert common / (50 * 8) > 0.95
    for hits, group in zip(found, own, strict=True):
        assert len(hits) == 8
        assert all(groups[hit.index] != group for hit in hits)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_diverse_choices_resemble_each_other_less():
    corpus = Corpus(_unit(np.array([[1, 0.1], [1, 0.11], [1, 0.12], [0.6, 1]])))
    hits = corpus.nearest(_unit(np.array([[1, 0]])), 4)[0]
    tools = ["a", "a", "b", "b"]
    assert [hit.index for hit in diverse(hits, corpus, tools, 2)] == [0, 1]
    assert [hit.index for hit in diverse(hits, corpus, tools, 2, diversity=0.7)] == [0, 3]
    assert [hit.index for hit in diverse(hits, corpus, tools, 4, max_per_tool=1)] == [0, 2]
    assert diverse([], corpus, tools, 4, diversity=0.5) == []


def _small_integers(rows: int, seed: int) -> Vectors:
    # Products of small integers are exact, so that ties are true ties.
    return np.random.default_rng(seed).integers(-2, 3, size=(rows, 4)).astype(np.float32)


def _unit(vectors: np.ndarray) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / lengths).astype(np.float32)

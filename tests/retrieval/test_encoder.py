"""The encoders: what they promise about vectors, and how an unknown one is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ste_ray.errors import ConfigError
from ste_ray.retrieval.encoder import HashedNgramEncoder, make_encoder

TEXTS = [
    "How far is it from London to Paris?",
    "What is the distance between London and Paris?",
    "Is this bank account number valid?",
    "Which day of the week was 4 May 1990?",
]


def test_vectors_are_unit_float32_rows() -> None:
    vectors = HashedNgramEncoder(dimension=512).fit(TEXTS).encode(TEXTS)
    assert vectors.shape == (4, 512)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_text_without_words_gets_zeros() -> None:
    vectors = HashedNgramEncoder().fit(TEXTS).encode(["", "?!"])
    assert not vectors.any()


def test_no_texts_give_no_rows() -> None:
    assert HashedNgramEncoder(dimension=16).fit([]).encode([]).shape == (0, 16)


def test_same_meaning_in_shared_words_is_nearer_than_another_subject() -> None:
    similarity = _similarities(TEXTS)
    assert similarity[0, 1] > 2 * max(similarity[0, 2], similarity[0, 3])


def test_misspelt_word_still_matches_by_its_ngrams() -> None:
    similarity = _similarities(["convert kilometres", "convrt kilometers", "password strength"])
    assert similarity[0, 1] > 0.3 > similarity[0, 2]


def test_rare_word_outweighs_a_word_of_every_text() -> None:
    corpus = [f"please tell me about {noun}" for noun in ("airports", "holidays", "passwords")]
    encoder = HashedNgramEncoder().fit(corpus)
    scores = encoder.encode(["please tell me airports"]) @ encoder.encode(corpus).T
    flat = HashedNgramEncoder()
    unweighted = flat.encode(["please tell me airports"]) @ flat.encode(corpus).T
    assert scores[0, 0] - scores[0, 1] > unweighted[0, 0] - unweighted[0, 1]


def test_words_are_split_at_underscores_and_case_is_ignored() -> None:
    vectors = HashedNgramEncoder().encode(["flight_distance", "Flight DISTANCE"])
    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_fitting_leaves_the_original_encoder_alone() -> None:
    encoder = HashedNgramEncoder()
    before = encoder.encode(TEXTS)
    encoder.fit(TEXTS)
    np.testing.assert_array_equal(before, encoder.encode(TEXTS))


def test_vectors_are_equal_in_another_process() -> None:
    program = (
        "from ste_ray.retrieval.encoder import HashedNgramEncoder\n"
        "import hashlib\n"
        f"texts = {TEXTS!r}\n"
        "vectors = HashedNgramEncoder().fit(texts).encode(texts)\n"
        "print(hashlib.sha256(vectors.tobytes()).hexdigest())\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r"'all-mpnet'.*ste-ray\[embeddings\].*hashed-ngrams"):
        make_encoder("all-mpnet")


def test_other_names_are_sentence_transformers_models(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class SentenceTransformer:
        def __init__(self, name: str) -> None:
            if name == "absent":
                raise OSError("absent is not a local folder\nand no model")
            calls.append(name)

        def encode(self, texts: list[str], **options: Any) -> np.ndarray[Any, Any]:
            calls.append(options)
            return np.eye(len(texts), 8, dtype=np.float64)

    library = ModuleType("sentence_transformers")
    library.SentenceTransformer = SentenceTransformer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    encoder = make_encoder("all-mpnet")
    vectors = encoder.fit(["a"]).encode(["a", "b"])
    assert vectors.dtype == np.float32
    assert calls[0] == "all-mpnet"
    assert calls[1]["normalize_embeddings"] is True
    with pytest.raises(
        ConfigError, match="'absent' cannot be loaded: absent is not a local folder"
    ):
        make_encoder("absent")


def _similarities(texts: list[str]) -> np.ndarray[Any, Any]:
    vectors = HashedNgramEncoder().fit(texts).encode(texts)
    return vectors @ vectors.T

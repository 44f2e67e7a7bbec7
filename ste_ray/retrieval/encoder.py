"""Sentence encoders: an offline default without a model, or any sentence-transformers model.

``hashed-ngrams`` counts words and character n-grams in a fixed number of hashed buckets, weighted
by sublinear term frequency and inverse document frequency as in scikit-learn's ``TfidfVectorizer``.
It knows nothing of meaning beyond shared letters, and in return needs no download and no training.
"""

from __future__ import annotations

import importlib
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ste_ray.errors import ConfigError, TemporaryError

HASHED_NGRAMS = "hashed-ngrams"

Vectors = NDArray[np.float32]

# Underscores separate words: tool names are written with them.
_WORD = re.compile(r"[^\W_]+")
_NGRAM_SIZES = (3, 4)


class SentenceEncoder(Protocol):
    """Turns texts into unit vectors whose dot product is their similarity."""

    def fit(self, texts: Sequence[str]) -> SentenceEncoder:
        """Return an encoder adapted to the corpus that will be searched, if that is its kind."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one row a text, float32 of shape [len(texts), dimension], of length 1 (or 0)."""
        ...


class HashedNgramEncoder:
    """The offline encoder; equal texts get equal vectors on every machine and in every process.

    Args:
        dimension: Number of hash buckets, which is the width of the vectors.
        idf: Inverse document frequency of each bucket; without it all weigh the same.
    """

    def __init__(self, dimension: int = 4096, idf: Vectors | None = None) -> None:
        self._dimension = dimension
        self._idf = np.ones(dimension, dtype=np.float32) if idf is None else idf

    def fit(self, texts: Sequence[str]) -> HashedNgramEncoder:
        """Return an encoder with the inverse document frequencies of ``texts``."""
        document_frequency = np.zeros(self._dimension, dtype=np.float64)
        for text in texts:
            buckets, _ = self._counts(text)
            document_frequency[buckets] += 1
        idf = np.log((1 + len(texts)) / (1 + document_frequency)) + 1
        return HashedNgramEncoder(self._dimension, idf.astype(np.float32))

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one unit row a text; a text without any word gets a row of zeros."""
        vectors = np.zeros((len(texts), self._dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            buckets, counts = self._counts(text)
            weights = (1 + np.log(counts)) * self._idf[buckets]
            length = np.linalg.norm(weights)
            if length > 0:
                row[buckets] = weights / length
        return vectors

    def _counts(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        words = _WORD.findall(text.casefold())
        buckets = [bucket for word in words for bucket in _word_buckets(word, self._dimension)]
        unique, counts = np.unique(np.asarray(buckets, dtype=np.int64), return_counts=True)
        return unique, counts


class SentenceTransformerEncoder:
    """A sentence-transformers model, by hub name or folder; no remote code is run."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def fit(self, texts: Sequence[str]) -> SentenceTransformerEncoder:
        """Return itself: the model is already trained."""
        return self

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one unit row a text."""
        vectors = self._model.encode(
            list(texts),
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.asarray(vectors, dtype=np.float32)


def make_encoder(name: str) -> SentenceEncoder:
    """Return the encoder called ``name``: ``hashed-ngrams`` or a sentence-transformers model.

    Raises:
        ConfigError: sentence-transformers is not installed, or it cannot load the model.
        TemporaryError: the hub, which has the model, cannot be reached.
    """
    if name == HASHED_NGRAMS:
        return HashedNgramEncoder()
    try:
        library = importlib.import_module("sentence_transformers")
    except ImportError:
        raise ConfigError(
            f"retrieve.encoder={name!r} needs sentence-transformers: install it with"
            f" \"pip install 'ste-ray[embeddings]'\", or use the offline {HASHED_NGRAMS!r}"
        ) from None
    try:
        return SentenceTransformerEncoder(library.SentenceTransformer(name))
    except (OSError, ValueError) as error:
        from ste_ray.process.hub import (
            hub_error,
        )  # the hub's client, which the offline default spares

        if isinstance(told := hub_error(error, f"retrieve.encoder={name!r}"), TemporaryError):
            raise told from None
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"retrieve.encoder={name!r} cannot be loaded: {reason}; give the hub name or folder of"
            f" a sentence-transformers model, or {HASHED_NGRAMS!r}"
        ) from None


@lru_cache(maxsize=65_536)
def _word_buckets(word: str, dimension: int) -> tuple[int, ...]:
    # Blanks at both ends make beginnings and endings of words features of their own. CRC-32 is
    # stable between processes, as Python's own hash of strings is not.
    padded = f" {word} "
    features = [padded]
    for size in _NGRAM_SIZES:
        features += [padded[start : start + size] for start in range(len(padded) - size + 1)]
    return tuple(zlib.crc32(feature.encode()) % dimension for feature in features)

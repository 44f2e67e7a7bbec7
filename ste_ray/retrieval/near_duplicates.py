"""Finds texts that read nearly like an earlier one, by MinHash and locality-sensitive hashing.

Two texts are compared by the share of their character 4-grams that they have in common (Jaccard
similarity). MinHash (Broder, 1997) finds whom to compare; what is decided is decided exactly.
"""

from __future__ import annotations

from rensa import RMinHash, RMinHashLSH

_CHARS = 4
_NUM_MINIMA = 128
_NUM_BANDS = 32  # a pair with half of its 4-grams in common is found with a probability of 0.87
_SEED = 1


class NearDuplicates:
    """Texts seen so far, in groups; only texts of one group are compared.

    Args:
        similarity: from which on a text counts as a near duplicate, above 0 and up to 1. Below 0.5
            some pairs are missed.
    """

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self._groups: dict[int, tuple[RMinHashLSH, list[str]]] = {}

    def find(self, group: int, text: str) -> bool:
        """Whether ``text`` is nearly one that was kept in ``group``; if not, it is kept."""
        grams = _grams(text)
        sketch = RMinHash(num_perm=_NUM_MINIMA, seed=_SEED)
        sketch.update(list(grams))
        if group not in self._groups:
            self._groups[group] = (_index(self._similarity), [])
        index, kept = self._groups[group]
        if any(self._alike(grams, kept[number]) for number in index.query(sketch)):
            return True
        index.insert(len(kept), sketch)
        kept.append(text)
        return False

    def _alike(self, grams: set[str], text: str) -> bool:
        others = _grams(text)
        common = len(grams & others)
        return common >= self._similarity * (len(grams) + len(others) - common)


def _index(similarity: float) -> RMinHashLSH:
    return RMinHashLSH(threshold=similarity, num_perm=_NUM_MINIMA, num_bands=_NUM_BANDS)


def _grams(text: str) -> set[str]:
    return {text[start : start + _CHARS] for start in range(max(1, len(text) - _CHARS + 1))}

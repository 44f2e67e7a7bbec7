"""Which requests end in a fault, and in which: drawn from the request, not from the order.

The draw depends on the seed, the request and how often it was asked before. So a run meets the same
faults however its requests interleave, and a request that failed may succeed when it is repeated.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

FaultKind = Literal[
    "429", "500", "503", "reset", "hang", "cut", "empty", "length", "content_filter"
]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
_MAX_REMEMBERED = 2**22
_WHOLE = 2**56


@dataclass(frozen=True)
class Fault:
    """A fault: its kind, and which of two ways it shows itself."""

    kind: FaultKind
    other_way: bool


class Faults:
    """Draws the faults of one server.

    Args:
        seed: of the draws.
        rate: share of the requests that end in a fault, 0 to 1.
        kinds: the kinds to draw from, each as likely as the next.
    """

    def __init__(self, seed: int, rate: float, kinds: Sequence[FaultKind]) -> None:
        self._seed = seed
        self._rate = rate
        self._kinds = tuple(kinds)
        self._num_asked: Counter[int] = Counter()

    def draw(self, key: int) -> Fault | None:
        """Return the fault that the request with this hash meets now, if any."""
        if not self._rate:
            return None
        if len(self._num_asked) >= _MAX_REMEMBERED:
            self._num_asked.clear()
        times = self._num_asked[key]
        self._num_asked[key] = times + 1
        text = f"{self._seed}:{key}:{times}".encode()
        digest = hashlib.blake2b(text, digest_size=16).digest()
        if int.from_bytes(digest[:7]) >= self._rate * _WHOLE:
            return None
        kind = self._kinds[int.from_bytes(digest[7:15]) % len(self._kinds)]
        return Fault(kind, bool(digest[15] & 1))

    def reset(self) -> None:
        """Forget which requests were asked: the same run meets the same faults again."""
        self._num_asked.clear()

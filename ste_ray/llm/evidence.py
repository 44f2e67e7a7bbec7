"""Whether a refusal concerns one request or all of them: what else the endpoint serves decides.

A request that is refused while others of its kind are served is refused for what it holds. Where
nothing has been served lately, a minimal request of the same kind is sent, once for all that wait
for the answer, and what comes of it holds for a while. Reading refusals is ``llm.refusals``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ste_ray.core.effects import AskModel, Sampling
from ste_ray.core.records import Message
from ste_ray.errors import EndpointError
from ste_ray.llm.refusals import Refused

# A proof that requests are served covers so many refusals, so long: a key may be withdrawn midway.
_PROOF_SECONDS = 30.0
_PROOF_REFUSALS = 20
# So many in a row that name their cause, where nothing was ever served, ask for a proof as well.
_MAX_UNPROVEN = 8
_MINIMAL_TEXT = "Say OK."


@dataclass(slots=True)
class Evidence:
    """What is known of requests of one kind: of one endpoint, model, key and sampling.

    Attributes:
        clock: seconds that only grow.
        probing: held by whoever sends the minimal request.
        stop: the error that ends the run, once the minimal request was refused too.
    """

    clock: Callable[[], float] = time.monotonic
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)
    stop: EndpointError | None = None
    _served_at: float | None = None
    _num_refused: int = 0  # since

    def served(self) -> None:
        """Note that a request was answered with a completion."""
        self._served_at = self.clock()
        self._num_refused = 0
        self.stop = None

    def refused(self) -> None:
        """Note that one was refused."""
        self._num_refused += 1

    def clears(self, refused: Refused) -> bool:
        """Whether a refusal, which has been noted, is known to concern its request alone."""
        if refused.certain:
            return self._served_at is not None or self._num_refused < _MAX_UNPROVEN
        if self._served_at is None or self._num_refused > _PROOF_REFUSALS:
            return False
        return self.clock() - self._served_at <= _PROOF_SECONDS


class Evidences:
    """The evidence of one endpoint, model and key, by sampling and by whether tools are offered."""

    def __init__(self) -> None:
        self._by_kind: dict[tuple[Sampling, bool], Evidence] = {}

    def of(self, request: AskModel) -> Evidence:
        """Return the evidence of requests with the sampling of ``request``, and tools or none."""
        kind = request.sampling, bool(request.tools)
        found = self._by_kind.get(kind)
        if found is None:
            found = self._by_kind[kind] = Evidence()
        return found


def minimal(request: AskModel) -> AskModel:
    """Return the smallest request of the same kind as ``request``."""
    return request.model_copy(update={"messages": (Message(role="user", content=_MINIMAL_TEXT),)})

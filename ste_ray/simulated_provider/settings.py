"""How the scripted teacher's server behaves: latency, key, rate limits, faults, usage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ste_ray.errors import ConfigError
from ste_ray.simulated_provider.faults import FAULT_KINDS, FaultKind
from ste_ray.simulated_provider.odd_calls import ODD_CALL_KINDS, OddCallKind


@dataclass(frozen=True)
class TeacherSettings:
    """The settings of one server; each default leaves the behaviour in question out.

    Attributes:
        seed: of the replies and the faults.
        latency_seconds: waited before each reply; refusals for a rate limit come at once.
        api_key: asked for in every request, if given.
        rpm: requests a minute that are let through.
        tpm: tokens a minute that are let through.
        burst_seconds: how many seconds' worth of a limit can be saved up.
        rate_headers: send ``x-ratelimit-*`` with each reply to an admitted or refused request.
        retry_after: send ``Retry-After`` and ``retry-after-ms`` with a refusal.
        fault_rate: share of the admitted requests that end in a fault, 0 to 1.
        faults: the kinds of fault to draw from.
        odd_call_rate: share of the replies to requests with tools whose calls are told oddly.
        odd_calls: the kinds of oddity to draw from.
        hang_seconds: how long a ``hang`` lasts before the connection is closed.
        fixed_reply: answer every request with this text, without reading what it asks.
        usage_tokens: report this many tokens in all for each reply, instead of the text's.

    Raises:
        ConfigError: a value is out of its range.
    """

    seed: int = 0
    latency_seconds: float = 0.0
    api_key: str = ""
    rpm: float | None = None
    tpm: float | None = None
    burst_seconds: float = 1.0
    rate_headers: bool = False
    retry_after: bool = True
    fault_rate: float = 0.0
    faults: tuple[FaultKind, ...] = FAULT_KINDS
    odd_call_rate: float = 0.0
    odd_calls: tuple[OddCallKind, ...] = ODD_CALL_KINDS
    hang_seconds: float = 30.0
    fixed_reply: str | None = None
    usage_tokens: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("latency_seconds", "hang_seconds"):
            self._require(name, "0 or more", lambda value: 0 <= value < math.inf)
        self._require("burst_seconds", "more than 0", lambda value: 0 < value < math.inf)
        for name in ("fault_rate", "odd_call_rate"):
            self._require(name, "from 0 to 1", lambda value: 0 <= value <= 1)
        for name in ("rpm", "tpm", "usage_tokens"):
            if getattr(self, name) is not None:
                self._require(name, "more than 0, or left out", lambda value: 0 < value < math.inf)
        for name, kinds in (("faults", FAULT_KINDS), ("odd_calls", ODD_CALL_KINDS)):
            given = getattr(self, name)
            if not given or not set(given) <= set(kinds):
                allowed = f"at least one of {', '.join(kinds)}"
                raise ConfigError(f"the teacher's {name} is {given!r}; allowed: {allowed}")

    def _require(self, name: str, allowed: str, holds: Callable[[Any], bool]) -> None:
        value = getattr(self, name)
        if not holds(value):
            raise ConfigError(f"the teacher's {name} is {value!r}; allowed: {allowed}")

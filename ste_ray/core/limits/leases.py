"""What clients and the limit server tell each other: plain records that can be pickled.

One call of a client carries all its waiting requests and all that ended since its last call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ste_ray.core.limits.rates import LimitHeaders, Refusal

UNASKED = -1.0  # the ``granted_at`` of a request that was sent while no limit was known


class Ask(NamedTuple):
    """A request that waits: what it may use at most, and for which account."""

    account: str
    tokens: int
    usd: float


class Settled(NamedTuple):
    """How a granted request ended; ``number`` is that of its grant."""

    number: int
    sent: bool
    tokens: int
    usd: float
    refusal: Refusal | None


class AccountUse(NamedTuple):
    """What ended requests of an account used, of those sent without asking."""

    account: str
    tokens: int
    usd: float
    calls: int


@dataclass(frozen=True)
class Unasked:
    """Requests sent without asking, since the client's last call; tokens and usage are sums.

    Attributes:
        num_sent: those sent.
        charge: tokens they may use at most.
        num_ended: those that ended.
        num_used: those of them that count for a limit of requests.
        ended_charge: tokens they might have used at most.
        used_tokens: tokens they used.
        refusals: of those that were refused.
        accounts: what they used, for the budget.
    """

    num_sent: int
    charge: float
    num_ended: int
    num_used: int
    ended_charge: float
    used_tokens: float
    refusals: tuple[Refusal, ...]
    accounts: tuple[AccountUse, ...]


@dataclass(frozen=True)
class LeaseRequest:
    """A client's call.

    Attributes:
        client: name of the process.
        endpoint: whose limits are meant; see ``ports.Claim``.
        asks: requests that wait, longest first; not more than are worth sending.
        num_waiting: all that wait.
        settled: granted requests that ended.
        unasked: requests sent without asking, if any.
        headers: what the provider last said of its limits, if that is new.
    """

    client: str
    endpoint: str
    asks: tuple[Ask, ...] = ()
    num_waiting: int = 0
    settled: tuple[Settled, ...] = ()
    unasked: Unasked | None = None
    headers: LimitHeaders | None = None


@dataclass(frozen=True)
class LeaseReply:
    """The answer.

    Attributes:
        metered: False: no limit is known, send without asking, first only ``window`` at once.
        window: see there; requests. It grows by one with each good reply.
        window_seconds: but not before that, so that a low limit is met by few requests.
        window_tokens: likewise, of all requests together.
        granted: position of each granted request in ``asks``, and the number of its grant.
        granted_at: by the clock of the limit server.
        exhausted: positions of requests for which the budget is used up, each with the reason.
        wait_seconds: until asking again is useful.
    """

    metered: bool
    granted_at: float
    window: int = 0
    window_seconds: float = 0.0
    window_tokens: float = 0.0
    granted: tuple[tuple[int, int], ...] = ()
    exhausted: tuple[tuple[int, str], ...] = ()
    wait_seconds: float = 0.0

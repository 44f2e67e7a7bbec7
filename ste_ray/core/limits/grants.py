"""What is claimed and what was used, and what clients and the limit server tell each other of it.

Plain records that can be pickled. One call of a client carries all its waiting requests and all
that ended since its last call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ste_ray.core.limits.budget import Spending
from ste_ray.core.limits.signals import LimitHeaders, Refusal

UNASKED = -1.0  # the ``granted_at`` of a request that was sent while no limit was known


class Claim(NamedTuple):
    """What one request to a model may use at most.

    Attributes:
        endpoint: identity of (base URL, model, key variable); each has limits of its own.
        account: the tool it is done for, for budgets per tool; may be empty.
        prompt_tokens: estimated.
        max_tokens: bound on the reply.
        usd: worst-case cost.
    """

    endpoint: str
    account: str
    prompt_tokens: int
    max_tokens: int
    usd: float = 0.0

    @property
    def tokens(self) -> int:
        """Of prompt and reply together, at most; what limits of tokens are charged."""
        return self.prompt_tokens + self.max_tokens


class Used(NamedTuple):
    """What a request that ended has used, and what was learnt of the limits.

    Attributes:
        prompt_tokens: as the provider counted; 0 when nothing was used.
        completion_tokens: likewise.
        usd: what it cost.
        sent: False when the request never left (cancelled); all that was reserved is returned.
        refusal: set when it was refused for its rate (429).
        headers: what the provider said of its limits, if anything.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    sent: bool = True
    refusal: Refusal | None = None
    headers: LimitHeaders | None = None

    @property
    def tokens(self) -> int:
        """Of prompt and reply together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def spending(self) -> Spending:
        """What counts for the budget."""
        return Spending(usd=self.usd, tokens=self.tokens, calls=int(self.sent))


class Grant(NamedTuple):
    """Permission to send one request now; must be given back with ``ports.Limiter.settle``."""

    claim: Claim
    granted_at: float  # by the clock of the limit server
    number: int


@dataclass(frozen=True)
class Unasked:
    """Requests sent without asking, since the client's last call; tokens and usage are sums.

    Attributes:
        num_sent: those sent.
        claimed_tokens: tokens they may use at most.
        num_ended: those that ended.
        num_used: those of them that count for a limit of requests.
        ended_tokens: tokens they might have used at most.
        used_tokens: tokens they used.
        refusals: of those that were refused.
        spent: what they used, by account, for the budget.
    """

    num_sent: int
    claimed_tokens: float
    num_ended: int
    num_used: int
    ended_tokens: float
    used_tokens: float
    refusals: tuple[Refusal, ...]
    spent: tuple[tuple[str, Spending], ...]


@dataclass(frozen=True)
class GrantRequest:
    """A client's call.

    Attributes:
        client: name of the process.
        endpoint: whose limits are meant; see ``Claim``.
        claims: of requests that wait, longest first; not more than are worth sending.
        num_waiting: all that wait.
        settled: numbers of the grants of requests that ended, each with what was used.
        unasked: requests sent without asking, if any.
        headers: what the provider last said of its limits, if that is new.
    """

    client: str
    endpoint: str
    claims: tuple[Claim, ...] = ()
    num_waiting: int = 0
    settled: tuple[tuple[int, Used], ...] = ()
    unasked: Unasked | None = None
    headers: LimitHeaders | None = None


@dataclass(frozen=True)
class GrantReply:
    """The answer.

    Attributes:
        metered: False: no limit is known, send without asking, first only ``window`` at once.
        window: see there; requests. It grows by one with each good reply.
        window_seconds: but not before that, so that a low limit is met by few requests.
        window_tokens: likewise, of all requests together.
        granted: position of each granted request in ``claims``, and the number of its grant.
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

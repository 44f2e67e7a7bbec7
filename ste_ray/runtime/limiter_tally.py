"""Sums up what a process sends without asking, until it is told to the limit server."""

from __future__ import annotations

from ste_ray.core.limits.leases import AccountUse, Unasked
from ste_ray.core.limits.rates import Refusal
from ste_ray.ports import Claim, Outcome


class UnaskedTally:
    """Requests sent and ended since the last ``take``; false when there were none."""

    def __init__(self) -> None:
        self._clear()

    def __bool__(self) -> bool:
        return self._num_sent > 0 or self._num_ended > 0

    def count_sent(self, claim: Claim) -> None:
        """Count a request that is sent."""
        self._num_sent += 1
        self._charge += claim.prompt_tokens + claim.max_tokens

    def count_ended(self, claim: Claim, outcome: Outcome) -> None:
        """Count a request that ended."""
        self._num_ended += 1
        self._ended_charge += claim.prompt_tokens + claim.max_tokens
        if outcome.refusal is not None:
            self._refusals.append(outcome.refusal)
            return
        if not outcome.sent:
            return
        self._num_used += 1
        tokens = outcome.prompt_tokens + outcome.completion_tokens
        # Of one that failed it is not known what the provider counted: the prompt, presumably.
        self._used_tokens += tokens or claim.prompt_tokens
        usd, used, calls = self._accounts.get(claim.account, (0.0, 0, 0))
        self._accounts[claim.account] = (usd + outcome.usd, used + tokens, calls + 1)

    def take(self) -> Unasked | None:
        """Return the sums and begin anew; None when there is nothing to tell."""
        if not self:
            return None
        unasked = Unasked(
            num_sent=self._num_sent,
            charge=self._charge,
            num_ended=self._num_ended,
            num_used=self._num_used,
            ended_charge=self._ended_charge,
            used_tokens=self._used_tokens,
            refusals=tuple(self._refusals),
            accounts=tuple(
                AccountUse(account, tokens, usd, calls)
                for account, (usd, tokens, calls) in self._accounts.items()
            ),
        )
        self._clear()
        return unasked

    def _clear(self) -> None:
        self._num_sent = self._num_ended = self._num_used = 0
        self._charge = self._ended_charge = self._used_tokens = 0.0
        self._refusals: list[Refusal] = []
        self._accounts: dict[str, tuple[float, int, int]] = {}

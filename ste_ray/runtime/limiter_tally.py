"""Sums up what a process sends without asking, until it is told to the limit server."""

from __future__ import annotations

from ste_ray.core.limits.budget import Spending
from ste_ray.core.limits.grants import Claim, Unasked, Used
from ste_ray.core.limits.signals import Refusal

_NOTHING = Spending()


class UnaskedTally:
    """Requests sent and ended since the last ``take``; false when there were none."""

    def __init__(self) -> None:
        self._clear()

    def __bool__(self) -> bool:
        return self._num_sent > 0 or self._num_ended > 0

    def count_sent(self, claim: Claim) -> None:
        """Count a request that is sent."""
        self._num_sent += 1
        self._claimed_tokens += claim.tokens

    def count_ended(self, claim: Claim, used: Used) -> None:
        """Count a request that ended."""
        self._num_ended += 1
        self._ended_tokens += claim.tokens
        if used.refusal is not None:
            self._refusals.append(used.refusal)
            return
        if not used.sent:
            return
        self._num_used += 1
        # Of one that failed it is not known what the provider counted: the prompt, presumably.
        self._used_tokens += used.tokens or claim.prompt_tokens
        before = self._spent.get(claim.account, _NOTHING)
        self._spent[claim.account] = before + used.spending

    def take(self) -> Unasked | None:
        """Return the sums and begin anew; None when there is nothing to tell."""
        if not self:
            return None
        unasked = Unasked(
            num_sent=self._num_sent,
            claimed_tokens=self._claimed_tokens,
            num_ended=self._num_ended,
            num_used=self._num_used,
            ended_tokens=self._ended_tokens,
            used_tokens=self._used_tokens,
            refusals=tuple(self._refusals),
            spent=tuple(self._spent.items()),
        )
        self._clear()
        return unasked

    def _clear(self) -> None:
        self._num_sent = self._num_ended = self._num_used = 0
        self._claimed_tokens = self._ended_tokens = self._used_tokens = 0.0
        self._refusals: list[Refusal] = []
        self._spent: dict[str, Spending] = {}

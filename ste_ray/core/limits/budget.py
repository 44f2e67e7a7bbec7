"""Bounds on what a run and each of its accounts (tools) may spend.

Before a request its worst case is reserved, and afterwards what it used is settled; so the bounds
hold however many requests are in flight, as long as none uses more than it reserved. Sums are kept
in whole numbers (dollars in units of 1e-12), because sums of floats depend on their order.
Nothing here waits, asks or knows the time; whoever grants requests does (sans-IO).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Decision = Literal["granted", "wait", "exhausted"]
_UNITS_PER_USD = 10**12


@dataclass(frozen=True, slots=True)
class Spending:
    """What requests used, or may use at most.

    Attributes:
        usd: US dollars.
        tokens: of prompts and completions together.
        calls: requests to models.
    """

    usd: float = 0.0
    tokens: int = 0
    calls: int = 0

    def __add__(self, other: Spending) -> Spending:
        return Spending(self.usd + other.usd, self.tokens + other.tokens, self.calls + other.calls)

    def __sub__(self, other: Spending) -> Spending:
        return Spending(self.usd - other.usd, self.tokens - other.tokens, self.calls - other.calls)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that may be spent; None is no bound."""

    max_usd: float | None = None
    max_tokens: int | None = None
    max_calls: int | None = None

    @property
    def limited(self) -> bool:
        """Whether there is any bound."""
        return any(bound is not None for bound in (self.max_usd, self.max_tokens, self.max_calls))


class Budget:
    """Counts what is spent and reserved, and says whether a further request may be sent."""

    def __init__(
        self,
        run: Bounds,
        per_account: Bounds,
        spent: Mapping[str, Spending] | None = None,
        other_stages: Spending = Spending(),
    ) -> None:
        """Begin with what was already spent.

        Args:
            run: bounds of the run as a whole.
            per_account: bounds of each account; requests of account ``""`` have none but the run's.
            spent: what earlier attempts of this stage used, by account.
            other_stages: what other stages of the run used; it counts for the run only.
        """
        self._run_bounds = _units_of_bounds(run)
        self._account_bounds = _units_of_bounds(per_account)
        self.limited = run.limited or per_account.limited
        self._spent = {account: _units(used) for account, used in (spent or {}).items()}
        self._total = sum(self._spent.values(), _units(other_stages))
        self._reserved: dict[str, _Units] = {}  # accounts with requests in flight
        self._total_reserved = _NOTHING
        self._refused: dict[str, _Units] = {}  # the claim last found impossible, by account

    def reserve(self, account: str, claim: Spending) -> Decision:
        """Reserve ``claim``, the most a request may use, if it fits.

        Returns:
            ``"granted"``: it is reserved until ``settle``. ``"wait"``: it does not fit now, but
            would if all requests in flight used nothing; ask again when one is settled.
            ``"exhausted"``: it cannot fit, see ``why``; a smaller claim still may.
        """
        units = _units(claim)
        fits_total = _decide(self._run_bounds, self._total, self._total_reserved, units)
        fits_account = self._decide_account(account, units)
        if "exhausted" in (fits_total, fits_account):
            self._refused[account] = units
            return "exhausted"
        if "wait" in (fits_total, fits_account):
            return "wait"
        self._total_reserved += units
        self._reserved[account] = self._reserved.get(account, _NOTHING) + units
        return "granted"

    def settle(self, account: str, reserved: Spending, used: Spending) -> None:
        """Return what was ``reserved`` for a request, and count what it ``used``.

        Used is counted as it was, also where it is more than was reserved. Without a reservation
        here (granted by a predecessor of this budget) ``reserved`` is ``Spending()``.

        Raises:
            ValueError: more is returned than the account has reserved: it was settled twice.
        """
        left = self._reserved.get(account, _NOTHING) - _units(reserved)
        if min(left) < 0:
            raise ValueError(
                f"cannot return {reserved!r} of account {account!r}: it has no more than"
                f" {_spending(self._reserved.get(account, _NOTHING))!r} reserved;"
                " settle each request once, with what was reserved for it"
            )
        if left == _NOTHING:
            self._reserved.pop(account, None)
        else:
            self._reserved[account] = left
        self._total_reserved -= _units(reserved)
        self._total += _units(used)
        self._spent[account] = self._spent.get(account, _NOTHING) + _units(used)

    def why(self, account: str) -> str:
        """Return which bound the claim last found impossible breaks; empty if none was refused."""
        claim = self._refused.get(account)
        if claim is None:
            return ""
        spent = self._spent.get(account, _NOTHING)
        scopes = [("budget", "", self._run_bounds, self._total)]
        if account:
            owner = f" for tool {account!r}"
            scopes.insert(0, ("budget.per_tool", owner, self._account_bounds, spent))
        for section, owner, bounds, used in scopes:
            for name, bound, amount, more in zip(_NAMES, bounds, used, claim, strict=True):
                if bound is not None and amount + more > bound:
                    return _sentence(f"{section}.max_{name}", owner, name, (bound, amount, more))
        return ""

    @property
    def spent(self) -> Spending:
        """What the run used so far, other stages included."""
        return _spending(self._total)

    @property
    def reserved(self) -> Spending:
        """What requests in flight may use at most."""
        return _spending(self._total_reserved)

    def spent_by_account(self) -> dict[str, Spending]:
        """What each account used so far, without other stages."""
        return {account: _spending(used) for account, used in self._spent.items()}

    def _decide_account(self, account: str, claim: _Units) -> Decision:
        if not account:
            return "granted"
        spent = self._spent.get(account, _NOTHING)
        reserved = self._reserved.get(account, _NOTHING)
        return _decide(self._account_bounds, spent, reserved, claim)


class _Units(NamedTuple):
    """Spending in whole numbers; ``usd`` in units of 1e-12 dollars."""

    usd: int
    tokens: int
    calls: int

    def __add__(self, other: _Units) -> _Units:  # type: ignore[override]  # not concatenation
        return _Units(self[0] + other[0], self[1] + other[1], self[2] + other[2])

    def __sub__(self, other: _Units) -> _Units:
        return _Units(self[0] - other[0], self[1] - other[1], self[2] - other[2])


_NAMES = _Units._fields
_NOTHING = _Units(0, 0, 0)
_UnitBounds = tuple[int | None, int | None, int | None]


def _units(spending: Spending) -> _Units:
    return _Units(round(spending.usd * _UNITS_PER_USD), spending.tokens, spending.calls)


def _spending(units: _Units) -> Spending:
    return Spending(units.usd / _UNITS_PER_USD, units.tokens, units.calls)


def _units_of_bounds(bounds: Bounds) -> _UnitBounds:
    usd = None if bounds.max_usd is None else round(bounds.max_usd * _UNITS_PER_USD)
    return usd, bounds.max_tokens, bounds.max_calls


def _decide(bounds: _UnitBounds, spent: _Units, reserved: _Units, claim: _Units) -> Decision:
    decision: Decision = "granted"
    for bound, used, in_flight, more in zip(bounds, spent, reserved, claim, strict=True):
        if bound is None or used + in_flight + more <= bound:
            continue
        if used + more > bound:
            return "exhausted"
        decision = "wait"
    return decision


def _sentence(key: str, owner: str, name: str, amounts: tuple[int, int, int]) -> str:
    bound, spent, more = (_shown(amount, name) for amount in amounts)
    return (
        f"{key}={bound} allows no further request{owner}: {spent} spent, and the next may take"
        f" {more}; raise {key} and run the same command again"
    )


def _shown(amount: int, name: str) -> str:
    return f"{amount / _UNITS_PER_USD:.6g}" if name == "usd" else str(amount)

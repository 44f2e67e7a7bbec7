import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ste_ray.core.limits.budget import Bounds, Budget, Spending

ONE = Spending(usd=0.1, tokens=100, calls=1)
NOTHING = Spending()
FREE = Bounds()
REMEDY = "and run the same command again"


def budget(run: Bounds = FREE, per_account: Bounds = FREE, **spent: Spending) -> Budget:
    return Budget(run, per_account, spent)


def test_without_bounds_everything_is_granted_and_still_counted():
    free = budget()
    assert not free.limited
    for _ in range(3):
        assert free.reserve("add", ONE) == "granted"
        free.settle("add", ONE, ONE)
    used = Spending(usd=0.3, tokens=300, calls=3)
    assert (free.spent, free.spent_by_account()) == (used, {"add": used})
    assert free.why("add") == ""


def test_a_bound_is_used_to_its_last_unit_whatever_the_order_of_the_sums():
    tight = budget(Bounds(max_usd=0.3))
    # 0.1 + 0.1 + 0.1 > 0.3 in floats
    assert [tight.reserve("", ONE) for _ in range(3)] == ["granted"] * 3
    for _ in range(3):
        tight.settle("", ONE, ONE)
    assert tight.spent.usd == 0.3
    assert tight.reserve("", Spending(usd=1e-9)) == "exhausted"


def test_waits_while_requests_in_flight_may_leave_enough():
    tight = budget(Bounds(max_tokens=150))
    assert tight.reserve("add", ONE) == "granted"
    assert tight.reserve("add", ONE) == "wait"
    tight.settle("add", ONE, Spending(tokens=50, calls=1))
    assert tight.reserve("add", ONE) == "granted"


def test_is_exhausted_when_requests_in_flight_do_not_matter():
    tight = budget(Bounds(max_tokens=150))
    assert tight.reserve("add", ONE) == "granted"
    tight.settle("add", ONE, Spending(tokens=51, calls=1))
    assert tight.reserve("add", ONE) == "exhausted"
    assert tight.reserve("add", Spending(tokens=99, calls=1)) == "granted"


def test_exhausted_goes_before_wait():
    tight = budget(Bounds(max_tokens=150, max_calls=1), add=Spending(calls=1))
    assert tight.reserve("add", Spending(tokens=100)) == "granted"
    assert tight.reserve("add", ONE) == "exhausted"


def test_an_account_has_bounds_of_its_own():
    shared = budget(per_account=Bounds(max_calls=1))
    assert shared.limited
    assert shared.reserve("add", ONE) == "granted"
    assert shared.reserve("add", ONE) == "wait"
    assert shared.reserve("divide", ONE) == "granted"
    shared.settle("add", ONE, ONE)
    assert shared.reserve("add", ONE) == "exhausted"
    # Requests for no tool are bounded by the run alone.
    assert [shared.reserve("", ONE) for _ in range(2)] == ["granted"] * 2


def test_one_account_can_wait_for_another_in_the_run():
    shared = budget(Bounds(max_calls=2))
    assert shared.reserve("add", ONE) == "granted"
    assert shared.reserve("divide", ONE) == "granted"
    assert shared.reserve("divide", ONE) == "wait"
    shared.settle("add", ONE, NOTHING)  # it never left
    assert shared.reserve("divide", ONE) == "granted"


def test_a_refused_claim_reserves_nothing():
    tight = budget(Bounds(max_calls=1), Bounds(max_tokens=10))
    assert tight.reserve("add", ONE) == "exhausted"
    assert tight.reserved == NOTHING
    assert tight.reserve("add", Spending(tokens=10, calls=1)) == "granted"
    assert tight.reserved == Spending(tokens=10, calls=1)


def test_earlier_attempts_count_for_run_and_account_other_stages_for_the_run():
    resumed = Budget(
        Bounds(max_calls=10),
        Bounds(max_calls=4),
        {"add": Spending(calls=3), "": Spending(calls=1)},
        other_stages=Spending(calls=4),
    )
    assert resumed.spent.calls == 8
    assert resumed.spent_by_account() == {"add": Spending(calls=3), "": Spending(calls=1)}
    assert resumed.reserve("add", Spending(calls=2)) == "exhausted"
    assert resumed.reserve("divide", Spending(calls=2)) == "granted"
    assert resumed.reserve("divide", Spending(calls=1)) == "wait"


def test_more_than_reserved_is_counted_as_it_was():
    tight = budget(Bounds(max_tokens=150))
    tight.reserve("add", ONE)
    tight.settle("add", ONE, Spending(tokens=200, calls=1))
    assert tight.spent.tokens == 200
    assert tight.reserve("add", Spending(tokens=1)) == "exhausted"


def test_what_a_predecessor_granted_is_settled_without_a_reservation():
    successor = budget(Bounds(max_calls=2))
    successor.settle("add", NOTHING, ONE)
    assert successor.spent == ONE


def test_settling_twice_is_an_error_and_changes_nothing():
    once = budget(Bounds(max_calls=5))
    once.reserve("add", ONE)
    once.reserve("divide", ONE)
    once.settle("add", ONE, ONE)
    with pytest.raises(ValueError, match="'add'"):
        once.settle("add", ONE, ONE)
    assert (once.spent, once.reserved) == (ONE, ONE)


def test_says_which_bound_of_the_run_is_in_the_way_and_what_to_do():
    tight = budget(Bounds(max_usd=0.25, max_calls=100), add=Spending(usd=0.2, calls=2))
    assert tight.why("add") == ""
    tight.reserve("add", ONE)
    assert tight.why("add") == (
        "budget.max_usd=0.25 allows no further request: 0.2 spent, and the next may take 0.1; "
        f"raise budget.max_usd {REMEDY}"
    )


def test_says_which_bound_of_the_account_is_in_the_way():
    tight = budget(Bounds(max_calls=100), Bounds(max_tokens=250), add=Spending(tokens=200))
    tight.reserve("add", ONE)
    assert tight.why("add") == (
        "budget.per_tool.max_tokens=250 allows no further request for tool 'add': 200 spent, and "
        f"the next may take 100; raise budget.per_tool.max_tokens {REMEDY}"
    )
    assert tight.why("divide") == ""


def test_spending_adds_and_subtracts():
    assert ONE + ONE - ONE == ONE
    assert ONE - ONE == NOTHING


amounts = st.builds(
    Spending,
    usd=st.floats(0, 2, allow_nan=False),
    tokens=st.integers(0, 300),
    calls=st.integers(0, 2),
)
bounds = st.builds(
    Bounds,
    max_usd=st.none() | st.floats(0, 10, allow_nan=False),
    max_tokens=st.none() | st.integers(0, 1500),
    max_calls=st.none() | st.integers(0, 12),
)
steps = st.lists(
    st.tuples(st.sampled_from(["", "a", "b"]), amounts, st.floats(0, 1), st.booleans()),
    max_size=60,
)


def within(used: Spending, limits: Bounds) -> bool:
    return all(
        limit is None or value <= limit or math.isclose(value, limit, abs_tol=1e-11)
        for value, limit in (
            (used.usd, limits.max_usd),
            (used.tokens, limits.max_tokens),
            (used.calls, limits.max_calls),
        )
    )


@given(run=bounds, per_account=bounds, steps=steps)
def test_never_spends_more_than_the_bounds_and_waits_only_for_something(run, per_account, steps):
    bounded = Budget(run, per_account)
    flying: list[tuple[str, Spending, float]] = []
    spent = {"": NOTHING, "a": NOTHING, "b": NOTHING}

    def land() -> None:
        account, claim, share = flying.pop(0)
        used = Spending(claim.usd * share, int(claim.tokens * share), int(claim.calls * share))
        bounded.settle(account, claim, used)
        spent[account] += used

    for account, claim, share, lands in steps:
        decision = bounded.reserve(account, claim)
        if decision == "granted":
            flying.append((account, claim, share))
        elif decision == "wait":
            assert flying
        else:
            assert REMEDY in bounded.why(account)
        if lands and flying:
            land()
        assert within(bounded.spent + bounded.reserved, run)
        for name in ("a", "b"):
            assert within(bounded.spent_by_account().get(name, NOTHING), per_account)
    while flying:
        land()
    assert bounded.reserved == NOTHING
    total = sum(spent.values(), NOTHING)
    assert (bounded.spent.tokens, bounded.spent.calls) == (total.tokens, total.calls)
    assert math.isclose(bounded.spent.usd, total.usd, abs_tol=1e-9)


@given(run=bounds, claims=st.lists(amounts, max_size=20))
def test_what_waits_is_granted_once_nothing_was_used(run, claims):
    bounded = Budget(run, FREE)
    flying = []
    for claim in claims:
        decision = bounded.reserve("", claim)
        if decision == "granted":
            flying.append(claim)
        if decision == "wait":
            for one in flying:
                bounded.settle("", one, NOTHING)
            assert bounded.reserve("", claim) == "granted"
            flying = [claim]

"""When requests are held back, probed and let go again."""

from __future__ import annotations

import pytest

from ste_ray.core.limits.breaker import Admission, Breaker

GO, PROBE, GIVE_UP = Admission("go"), Admission("probe"), Admission("give_up")


def opened(patience=600.0, at=100.0):
    breaker = Breaker(max_failures=3, patience_seconds=patience)
    for _ in range(3):
        breaker.fail("503", "503 overloaded", at)
    assert breaker.is_open
    return breaker


def test_identical_failures_in_a_row_open_it():
    breaker = Breaker(max_failures=3, patience_seconds=600)
    assert [breaker.fail("503", "", 0.0) for _ in range(4)] == [False, False, True, False]
    assert breaker.admit(0.0) == Admission("wait", 5.0)


def test_failures_that_differ_or_a_success_between_them_do_not():
    breaker = Breaker(max_failures=3, patience_seconds=600)
    for kind in ("503", "503", "timeout", "503", "503"):
        assert not breaker.fail(kind, "", 0.0)
    assert not breaker.succeed()
    assert not any(breaker.fail("503", "", 0.0) for _ in range(2))
    assert breaker.admit(0.0) == GO
    assert breaker.num_successes == 1


def test_a_request_without_attempts_left_opens_it_at_once():
    breaker = Breaker(max_failures=3, patience_seconds=600)
    assert breaker.fail("reset", "", 0.0, exhausted=True)
    assert breaker.is_open


def test_one_probe_at_a_time():
    breaker = opened()
    assert breaker.admit(104.9).verdict == "wait"
    assert breaker.admit(105.0) == PROBE
    assert breaker.admit(105.1).verdict == "wait"
    breaker.end_probe(106.0, failed=False)  # cancelled before it was sent
    assert breaker.admit(106.0) == PROBE


def test_pauses_double_up_to_their_bound():
    breaker, now, pauses = opened(patience=10_000), 100.0, []
    for _ in range(6):
        pauses.append(breaker.pause_seconds)
        now += breaker.pause_seconds
        assert breaker.admit(now - 0.01).verdict == "wait"
        assert breaker.admit(now) == PROBE
        breaker.fail("timeout", "", now)
        breaker.end_probe(now, failed=True)
    assert pauses == [5, 10, 20, 40, 60, 60]


def test_what_fails_beside_the_probe_lengthens_no_pause():
    breaker = opened()
    breaker.fail("503", "", 101.0)
    assert breaker.admit(101.0) == Admission("wait", 4.0)
    assert breaker.num_failures == 4


@pytest.mark.parametrize("probing", [True, False])
def test_any_success_closes_it(probing):
    breaker = opened()
    if probing:
        assert breaker.admit(105.0) == PROBE
    assert breaker.succeed()
    if probing:
        breaker.end_probe(105.5, failed=False)
    assert breaker.admit(105.5) == GO
    assert breaker.num_failures == 0


def test_a_probe_that_fails_after_the_recovery_changes_nothing():
    breaker = opened()
    assert breaker.admit(105.0) == PROBE
    breaker.succeed()
    breaker.end_probe(106.0, failed=True)
    assert breaker.admit(106.0) == GO


def test_everybody_gives_up_when_the_patience_ends():
    breaker = opened(patience=7.0)
    assert breaker.admit(105.0) == PROBE
    assert breaker.admit(105.0) == Admission("wait", 2.0)
    breaker.end_probe(105.5, failed=True)
    assert breaker.admit(106.0) == Admission("wait", 1.0)  # not until the probe after 10 s
    assert breaker.admit(107.0) == GIVE_UP


def test_without_patience_nobody_waits():
    assert opened(patience=0.0).admit(100.0) == GIVE_UP

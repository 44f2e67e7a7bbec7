"""The gate: how often it is wrong in simulated pairs of evaluations, and what it says of one.

The simulated test sets: tools whose true share of correct calls is drawn from a beta distribution
(requests of one tool resemble each other), requests that a greedy model answers alike both times,
and requests whose answers are drawn anew. The numbers of pairs make a rate at the nominal level
exceed what is asserted with a probability below one in a thousand.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from ste_ray.core.scoring import estimates
from ste_ray.core.scoring.baseline import Answered, Outcomes
from ste_ray.core.scoring.estimates import MIN_TOOLS
from ste_ray.core.scoring.gate import run_gate
from ste_ray.core.scoring.gate_result import LEVEL, GateResult, Row
from ste_ray.errors import StageInputError

WRONG = ("wrong_arguments", "wrong_tool", "malformed")
Pair = tuple[dict[str, Answered], dict[str, Answered]]


def simulated(
    draw: random.Random,
    *,
    tools: int = 30,
    per_tool: tuple[int, ...] = (10,),
    greedy: float = 0.6,
    lost: float = 0.0,
    broken: str = "",
    moves: float = 0.0,
    same_requests: bool = True,
    per_tool_now: tuple[int, ...] = (),
    share: float = 0.0,
) -> Pair:
    """Two evaluations of equally good models, but for what is planted.

    Args:
        draw: of everything.
        tools: how many.
        per_tool: numbers of requests that tools have.
        greedy: the share of requests whose outcome is the same in both.
        lost: points that the second loses, as a fraction, in all tools alike.
        broken: a tool that never is called right by the second.
        moves: the deviation by which another training moves each tool.
        same_requests: whether both are asked the same.
        per_tool_now: numbers of requests in the second; empty: as many as in the first.
        share: of correct calls in every tool; 0: it is drawn.
    """
    before, now = {}, {}
    for number in range(tools):
        tool, right = f"tool_{number}", share or draw.betavariate(4, 1.2)
        moved = [min(1.0, max(0.0, right + draw.gauss(0, moves))) for _ in range(2)]
        num_before = num_now = draw.choice(per_tool)
        if per_tool_now:
            num_now = draw.choice(per_tool_now)
        for request in range(max(num_before, num_now)):
            first, second = (_outcome(draw, one) for one in moved)
            if same_requests and draw.random() < greedy:
                second = first
            if second == "correct" and (draw.random() < lost / right or tool == broken):
                second = "wrong_tool"
            if request < num_before:
                before[f"{tool} {request}"] = Answered(tool, first)
            if request < num_now:
                now[f"{tool} {request}{'' if same_requests else ' too'}"] = Answered(tool, second)
    for request in range(40):
        first, second = (draw.choices(("correct", "needless_call"), (9, 1))[0] for _ in range(2))
        before[f"chat {request}"] = Answered("", first)
        now[f"chat {request}{'' if same_requests else ' too'}"] = Answered("", second)
    return before, now


def _outcome(draw: random.Random, share: float) -> str:
    return "correct" if draw.random() < share else draw.choice(WRONG)


def gate(before: Outcomes, now: Outcomes, **options: object) -> GateResult:
    # Intervals decide nothing, and take most of the time.
    return run_gate({"s": before}, {"s": now}, seed=0, num_resamples=1, **options)  # type: ignore[arg-type]


def rate(
    pairs: int, found: Callable[[GateResult], bool], *, each_tool: bool = True, **planted: object
) -> float:
    draw = random.Random(20)
    results = (
        gate(*simulated(draw, **planted), each_tool=each_tool)  # type: ignore[arg-type]
        for _ in range(pairs)
    )
    return sum(map(found, results)) / pairs


def failed(result: GateResult) -> bool:
    return result.failed


def bound(pairs: int) -> float:
    """What a rate of ``LEVEL`` stays below in 999 of 1000 simulations."""
    return LEVEL + 3.1 * math.sqrt(LEVEL * (1 - LEVEL) / pairs)


@pytest.mark.parametrize(
    "planted",
    [
        {},
        {"greedy": 0.0, "tools": 20, "per_tool": (2, 5, 10, 30)},
        {"greedy": 0.2, "tools": 5, "per_tool": (40,)},
        {"greedy": 0.0, "tools": MIN_TOOLS, "per_tool": (10, 40)},
    ],
    ids=["greedy", "flipping", "few tools", "just enough tools"],
)
def test_equally_good_models_are_rarely_called_worse(planted: dict[str, object]) -> None:
    assert rate(500, failed, **planted) <= bound(500)


def test_equally_good_models_on_different_requests_are_rarely_called_worse() -> None:
    assert rate(500, failed, same_requests=False, tools=12) <= bound(500)
    assert rate(500, failed, same_requests=False, tools=5, per_tool=(30,)) <= bound(500)


@pytest.mark.parametrize(
    "planted",
    [
        {"tools": 30, "per_tool": (30,), "per_tool_now": (2, 3)},
        {"tools": 100, "per_tool": (1,), "per_tool_now": (30,), "share": 0.95},
        {"tools": MIN_TOOLS, "per_tool": (60,), "per_tool_now": (5,)},
        {"tools": 5, "per_tool": (60,), "per_tool_now": (4,)},
    ],
    ids=["few now", "few before", "just enough tools", "few tools"],
)
def test_many_requests_beside_few_others_raise_no_alarm(planted: dict[str, object]) -> None:
    """Few requests of a good tool are mostly all right and seldom many wrong: no even signs."""
    assert rate(300, failed, same_requests=False, **planted) <= bound(300)


def test_signs_alone_would_call_them_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "weaker", lambda shares, signs: signs)
    planted = {"tools": 100, "per_tool": (1,), "per_tool_now": (30,), "share": 0.95}
    assert rate(100, failed, same_requests=False, **planted) > bound(100)


def test_requests_of_a_tool_that_change_together_raise_no_alarm_over_all_tools() -> None:
    found = rate(500, failed, each_tool=False, moves=0.15, greedy=0.0, tools=20)
    assert found <= bound(500)
    # Tests of single requests would: the same changes, as if no tool held them together.
    draw = random.Random(20)
    alarms = 0
    for _ in range(200):
        before, now = simulated(draw, moves=0.15, greedy=0.0, tools=20)
        alone = [{key: one._replace(tool=one.tool and "all") for key, one in side.items()}
                 for side in (before, now)]  # fmt: skip
        alarms += gate(*alone).failed
    assert alarms / 200 > 2 * found


def test_a_loss_of_ten_points_is_found_in_300_requests() -> None:
    """30 tools of 10 requests, 6 of 10 greedy: of the others the answers are drawn anew."""
    assert rate(200, failed, lost=0.1) >= 0.9
    assert 0.65 <= rate(200, failed, lost=0.1, greedy=0.0) <= 0.85
    assert rate(100, failed, lost=0.1, same_requests=False, tools=20, per_tool=(15, 25)) >= 0.7
    assert 0.55 <= rate(200, failed, lost=0.1, same_requests=False) <= 0.8


def test_a_tool_that_breaks_is_named() -> None:
    def named(result: GateResult) -> bool:
        return {one.tool for one in result.rows if one.verdict == "worse"} >= {"tool_3"}

    assert rate(200, named, broken="tool_3", tools=20, per_tool=(15,)) >= 0.9

    def others(result: GateResult) -> bool:
        return any(one.verdict == "worse" and one.tool not in ("", "tool_3") for one in result.rows)

    assert rate(200, others, broken="tool_3", tools=20, per_tool=(15,)) <= bound(200)


def test_the_loss_that_would_be_found_is_found_in_eight_of_ten_cases() -> None:
    draw = random.Random(4)
    before, now = simulated(draw, greedy=0.5)
    told = row(gate(before, now), "correct").found_from
    assert told is not None
    found = rate(200, lambda one: row(one, "correct").verdict == "worse", lost=told, greedy=0.5)
    assert 0.7 <= found <= 0.95  # it is estimated from one pair


def row(result: GateResult, figure: str, tool: str = "") -> Row:
    (found,) = [one for one in result.rows if (one.figure, one.tool) == (figure, tool)]
    return found


def answered(tool: str, outcomes: str, start: str = "") -> dict[str, Answered]:
    """Outcomes of requests: c correct, a wrong arguments, t wrong tool, m malformed, n needless."""
    names = {"c": "correct", "a": "wrong_arguments", "t": "wrong_tool", "m": "malformed"} | {
        "n": "needless_call"
    }
    return {f"{start}{tool} {n}": Answered(tool, names[one]) for n, one in enumerate(outcomes)}


def test_figures_are_shares_of_their_requests() -> None:
    before = answered("add", "ccat") | answered("", "ccn")
    now = answered("add", "camt") | answered("", "ccm")
    result = gate(before, now)
    assert [(one.figure, one.baseline, one.now, one.lost, one.gained) for one in result.rows] == [
        ("wellformed", 1.0, 0.75, 1, 0),
        ("tool_match", 0.75, 0.5, 1, 0),
        ("correct", 0.5, 0.25, 1, 0),
        ("restrained", pytest.approx(2 / 3), pytest.approx(2 / 3), 0, 0),
    ]
    assert {one.verdict for one in result.rows} == {"too few to say"}
    assert not result.failed


def test_what_is_better_does_not_fail() -> None:
    result = gate(answered("add", "a" * 20), answered("add", "c" * 20))
    assert row(result, "correct").verdict == "better"
    assert row(result, "wellformed").verdict == "within chance"
    assert not result.failed


def test_a_loss_in_a_small_tool_is_worse_from_enough_requests_on() -> None:
    steady = {key: one for n in range(20) for key, one in answered(f"tool_{n}", "c" * 10).items()}
    for size, verdict in ((4, "too few to say"), (8, "worse")):
        before, now = steady | answered("small", "c" * size), steady | answered("small", "t" * size)
        assert row(gate(before, now), "correct", "small").verdict == verdict
    unchanged = gate(before, before)
    assert row(unchanged, "correct", "small").verdict == "within chance"


def test_what_has_nothing_to_lose_is_not_too_few() -> None:
    assert (
        row(gate(answered("add", "tt"), answered("add", "tt")), "correct").verdict
        == "within chance"
    )


def test_requests_that_only_one_side_has_are_left_out() -> None:
    before, now = answered("add", "c" * 12), answered("add", "c" * 9)
    (compared,) = gate(before, now).compared
    assert (compared.paired, compared.num_now, compared.only_baseline) == (True, 9, 3)


def test_other_requests_of_the_same_tools_are_not_paired() -> None:
    before = answered("add", "c" * 50 + "a" * 10) | answered("gone", "ccc")
    now = answered("add", "c" * 20 + "t" * 40, "new ") | answered("come", "cccc")
    result = gate(before, now)
    (compared,) = result.compared
    assert not compared.paired
    assert (compared.num_tools, compared.only_baseline, compared.only_now) == (1, 3, 4)
    found = row(result, "correct")
    assert (found.verdict, found.gained, found.lost) == ("worse", None, None)
    assert found.interval is not None
    assert found.interval.low < found.difference < found.interval.high < 0


def test_more_requests_of_difficult_tools_are_no_loss() -> None:
    def of(easy: int, hard: int, start: str) -> dict[str, Answered]:
        return answered("easy", "c" * easy, start) | answered("hard", "t" * hard, start)

    result = gate(of(90, 10, ""), of(10, 90, "new "))
    assert row(result, "correct").difference == pytest.approx(0)
    assert not result.failed


def test_nothing_in_common_is_a_mistake() -> None:
    with pytest.raises(StageInputError, match="neither a request nor a tool in common"):
        gate(answered("add", "c"), answered("sub", "c"))


def test_bounds_are_of_all_requests_of_the_run() -> None:
    now = {"s": answered("add", "cccm") | answered("", "n")}
    result = run_gate({}, now, seed=0, bounds=[("correct", 0.75), ("restrained", 0.1)])
    assert [(one.figure, one.share, one.n, one.met) for one in result.bounds] == [
        ("correct", 0.75, 4, True),
        ("restrained", 0.0, 1, False),
    ]
    assert result.failed
    with pytest.raises(
        StageInputError, match=r"--min restrained=0\.5: no test request .* needs no"
    ):
        run_gate({}, {"s": answered("add", "c")}, seed=0, bounds=[("restrained", 0.5)])


def test_several_settings_are_corrected_together() -> None:
    before, now = answered("add", "c" * 40), answered("add", "c" * 34 + "a" * 6)
    alone = run_gate({"s": before}, {"s": now}, seed=0)
    both = run_gate({"s": before, "t": before}, {"s": now, "t": now}, seed=0)
    assert {one.setting for one in both.rows} == {"s", "t"}
    assert row(alone, "correct").level_worse > both.rows[0].level_worse


def test_the_same_outcomes_give_the_same_result() -> None:
    before, now = simulated(random.Random(1))
    turned = dict(reversed(before.items())), dict(reversed(now.items()))
    assert gate(before, now) == gate(*turned)

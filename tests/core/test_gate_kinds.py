"""The gate looks at each kind of test requests by itself."""

from __future__ import annotations

import math
import random

import pytest

from ste_ray.core.records import TEST_KINDS, TestKind
from ste_ray.core.scoring.baseline import (
    Answered,
    Outcomes,
    baseline_text,
    make_baseline,
    parse_baseline,
)
from ste_ray.core.scoring.gate import run_gate
from ste_ray.core.scoring.gate_figures import GROUP_FIGURES, KIND_FIGURES
from ste_ray.core.scoring.gate_result import LEVEL, GateResult, Row
from ste_ray.core.scoring.statistics import Proportion
from ste_ray.errors import StageInputError


def outcomes(**right: int) -> dict[str, Answered]:
    """Thirty requests a kind, of ten tools, so many of them right."""
    found = {}
    for name, number in right.items():
        kind: TestKind = name  # type: ignore[assignment]
        needs_call = kind not in ("missing_argument", "no_tool")
        for at in range(30):
            wrong = "wrong_arguments" if needs_call else "needless_call"
            outcome = "correct" if at < number else wrong
            tool = f"tool {at % 10}" if needs_call else ""
            found[f"{kind} {at}"] = Answered(tool, outcome, kind)
    return found


ALL = {
    "explicit": 28, "natural": 25, "indirect": 20, "missing_argument": 24, "no_tool": 26,
    "confusable": 30,
}  # fmt: skip


def gate(before: Outcomes, now: Outcomes, **options: object) -> GateResult:
    return run_gate(
        {"s": before},
        {"s": now},
        seed=0,
        num_resamples=20,
        **options,  # type: ignore[arg-type]
    )


def rows(result: GateResult) -> dict[tuple[str, str], Row]:
    return {(one.kind, one.figure): one for one in result.rows if not one.tool}


def test_each_kind_has_its_figure_and_counts_in_no_other() -> None:
    found = rows(gate(outcomes(**ALL), outcomes(**ALL)))
    assert set(found) == {
        ("explicit", "wellformed"), ("explicit", "tool_match"), ("explicit", "correct"),
        ("explicit", "restrained"), ("natural", "correct"), ("indirect", "correct"),
        ("missing_argument", "restrained"), ("confusable", "tool_match"),
    }  # fmt: skip
    assert {one.num_now for one in found.values()} == {30}
    assert found["explicit", "correct"].now == 28 / 30
    assert found["explicit", "restrained"].now == 26 / 30
    assert found["natural", "correct"].now == 25 / 30
    assert found["confusable", "tool_match"].now == 1.0


def test_a_loss_in_one_kind_alone_fails_the_gate() -> None:
    for kind in ("natural", "indirect", "missing_argument", "no_tool"):
        result = gate(outcomes(**ALL), outcomes(**{**ALL, kind: 2}))
        assert result.failed
        name = "explicit" if kind == "no_tool" else kind
        assert {one.kind for one in result.rows if one.verdict == "worse"} == {name}
    assert not gate(outcomes(**ALL), outcomes(**ALL)).failed


def compared(result: GateResult) -> dict[str, tuple[int, int, int, tuple[str, ...]]]:
    return {
        one.kind: (one.num_now, one.only_baseline, one.only_now, one.gone)
        for one in result.compared
    }


def test_a_kind_that_only_one_of_them_has_is_not_compared_and_counted() -> None:
    result = gate(outcomes(explicit=28), outcomes(explicit=28, natural=25, missing_argument=24))
    assert {one.kind for one in result.rows} == {"explicit"}
    assert compared(result) == {
        "explicit": (30, 0, 0, ()),
        "natural": (0, 0, 30, ()),
        "missing_argument": (0, 0, 30, ()),
    }
    result = gate(outcomes(**ALL), outcomes(explicit=28, natural=25))
    assert {one.kind for one in result.rows} == {"explicit", "natural"}
    assert compared(result) == {
        "explicit": (30, 30, 0, ("restrained",)),  # the tests that no tool fits
        "natural": (30, 0, 0, ()),
        "indirect": (0, 30, 0, ("correct",)),
        "missing_argument": (0, 30, 0, ("restrained",)),
        "confusable": (0, 30, 0, ("tool_match",)),
    }


def test_what_a_kind_lost_in_part_is_counted() -> None:
    now = {
        key: one for key, one in outcomes(**ALL).items() if key not in {"natural 3", "no_tool 1"}
    }
    result = gate(outcomes(**ALL), now)
    assert compared(result)["natural"] == (29, 1, 0, ())
    assert compared(result)["explicit"] == (59, 1, 0, ())


@pytest.mark.parametrize("turned", [False, True])
def test_other_kinds_on_one_side_alone_hinder_no_comparison(turned: bool) -> None:
    sides = [outcomes(natural=25), outcomes(natural=2, explicit=28)]
    if turned:
        sides = [outcomes(natural=25, explicit=28), outcomes(natural=2)]
    result = gate(*sides)
    assert {(one.kind, one.verdict) for one in result.rows} == {("natural", "worse")}
    gone = ("wellformed", "tool_match", "correct") if turned else ()
    assert compared(result)["explicit"] == (0, 30 if turned else 0, 0 if turned else 30, gone)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (outcomes(natural=25), outcomes(indirect=25)),
        (outcomes(natural=25), {}),
        ({}, outcomes(explicit=25)),
        ({}, {}),
        (outcomes(explicit=3), {"x": Answered("another", "correct")}),
    ],
)
def test_nothing_of_any_kind_in_common_is_told(before: Outcomes, now: Outcomes) -> None:
    with pytest.raises(StageInputError, match="neither a request nor a tool in common"):
        gate(before, now)


def test_bounds_without_a_kind_are_of_explicit_requests() -> None:
    now = outcomes(explicit=30, natural=0, missing_argument=0, no_tool=30)
    result = run_gate({}, {"s": now}, seed=0, bounds=[("correct", 1.0), ("restrained", 1.0)])
    assert not result.failed
    assert [one.n for one in result.bounds] == [30, 30]


@pytest.mark.parametrize(
    ("name", "kind", "figure", "right"),
    [
        ("natural", "natural", "correct", 25),
        ("natural.correct", "natural", "correct", 25),
        ("indirect.tool_match", "indirect", "tool_match", 30),  # the others have wrong arguments
        ("missing_argument", "missing_argument", "restrained", 24),
        ("no_tool", "no_tool", "restrained", 26),
        ("confusable", "confusable", "tool_match", 30),
        ("explicit.correct", "explicit", "correct", 28),
    ],
)
def test_a_bound_may_be_of_a_kind(name: str, kind: str, figure: str, right: int) -> None:
    share = right / 30
    bounds = [(name, share), (name, share + 0.01)]
    met, missed = run_gate({}, {"s": outcomes(**ALL)}, seed=0, bounds=bounds).bounds
    assert (met.group, met.figure, met.n, met.share, met.met) == (kind, figure, 30, share, True)
    assert not missed.met


def test_general_requests_count_as_those_that_no_tool_fits() -> None:
    now = outcomes(no_tool=30) | {"general": Answered("", "needless_call")}
    (one,) = run_gate({}, {"s": now}, seed=0, bounds=[("no_tool", 0.5)]).bounds
    assert (one.n, one.share) == (31, 30 / 31)


def test_a_bound_of_a_kind_that_was_not_tested_names_those_that_were() -> None:
    now = {"s": outcomes(natural=3, explicit=3)}
    with pytest.raises(StageInputError, match="'indirect', only of explicit, natural; leave it"):
        run_gate({}, now, seed=0, bounds=[("indirect.correct", 0.5)])


def test_a_bound_may_be_of_what_is_unseen_in_training() -> None:
    now = {"s": outcomes(explicit=30)}
    unseen = {"s": {"correct": Proportion(count=3, n=4), "wellformed": Proportion(count=0, n=0)}}
    options = {"seed": 0, "unseen": unseen}
    (one,) = run_gate({}, now, bounds=[("unseen", 0.8)], **options).bounds  # type: ignore[arg-type]
    assert (one.group, one.figure, one.n) == ("unseen", "correct", 4)
    assert (one.share, one.met) == (0.75, False)
    for bound in ("unseen.tool_match", "unseen.wellformed"):
        with pytest.raises(StageInputError, match="known to be unseen in training"):
            run_gate({}, now, bounds=[(bound, 0.8)], **options)  # type: ignore[arg-type]


def test_bounds_know_every_kind() -> None:
    assert set(TEST_KINDS) | {"unseen"} == set(GROUP_FIGURES)
    assert {kind: GROUP_FIGURES[kind][0] for kind in KIND_FIGURES} == KIND_FIGURES


def test_kinds_alone_are_compared_too() -> None:
    result = gate(outcomes(natural=25), outcomes(natural=2))
    assert result.failed
    assert {(one.kind, one.verdict) for one in result.rows if not one.tool} == {
        ("natural", "worse")
    }
    assert result.settings == ("s",)
    assert compared(result) == {"natural": (30, 0, 0, ())}


def test_a_baseline_keeps_kinds_and_is_what_it_was_without_any() -> None:
    baseline = make_baseline({"s": outcomes(**ALL)}, {}, "1")
    again = parse_baseline(baseline_text(baseline).encode(), "b.json")
    assert again == baseline
    assert again.outcomes("s") == outcomes(**ALL)
    plain = make_baseline({"s": outcomes(explicit=3)}, {}, "1")
    assert "kinds" not in baseline_text(plain)


def moved_together(
    draw: random.Random, kind: TestKind, *, tools: int = 15, general: int = 0, paired: bool = True
) -> tuple[dict[str, Answered], dict[str, Answered]]:
    """Two equally good models, of which each moves whole near tools, as another training does."""
    sides: tuple[dict[str, Answered], dict[str, Answered]] = {}, {}
    for side, found in enumerate(sides):
        start = "" if paired or not side else "other "
        for tool in range(tools):
            restrained = draw.betavariate(1.5, 1.0)
            for at in range(20):
                outcome = "correct" if draw.random() < restrained else "needless_call"
                found[f"{start}{tool} {at}"] = Answered("", outcome, kind, f"tool {tool}")
        for at in range(general):
            outcome = "correct" if draw.random() < 0.8 else "needless_call"
            found[f"{start}general {at}"] = Answered("", outcome)
    return sides


def alarms(pairs: int, *, known: bool = True, **planted: object) -> float:
    draw = random.Random(7)
    found = 0
    for _ in range(pairs):
        sides = moved_together(draw, **planted)  # type: ignore[arg-type]
        if not known:
            sides = tuple(  # type: ignore[assignment]
                {key: one._replace(near_tool="") for key, one in side.items()} for side in sides
            )
        found += run_gate({"s": sides[0]}, {"s": sides[1]}, seed=0, num_resamples=1).failed
    return found / pairs


@pytest.mark.parametrize(
    "planted",
    [
        {"kind": "missing_argument"},
        {"kind": "missing_argument", "paired": False},
        {"kind": "no_tool"},
        {"kind": "no_tool", "general": 60},
        {"kind": "no_tool", "general": 60, "paired": False},
    ],
    ids=str,
)
def test_requests_near_to_a_tool_that_change_together_raise_no_alarm(
    planted: dict[str, object],
) -> None:
    bound = LEVEL + 3.1 * math.sqrt(LEVEL * (1 - LEVEL) / 300)
    assert alarms(300, **planted) <= bound
    # Held together by nothing, they would.
    assert alarms(60, known=False, **planted) > 2 * bound


def test_a_loss_among_general_requests_is_found_beside_near_ones() -> None:
    for paired in (True, False):
        before, now = moved_together(random.Random(1), "no_tool", general=150, paired=paired)
        steady = {key: one for key, one in before.items() if one.near_tool}
        lost = {key: one._replace(outcome="needless_call") for key, one in now.items()}
        start = "" if paired else "other "
        now = {f"{start}{key}": one for key, one in steady.items()}
        now |= {key: one for key, one in lost.items() if not one.near_tool}
        assert rows(gate(before, now))["explicit", "restrained"].verdict == "worse"


def test_a_baseline_that_names_no_near_tools_is_compared_too() -> None:
    now = moved_together(random.Random(1), "missing_argument")[0]
    before = {key: one._replace(near_tool="") for key, one in now.items()}
    text = baseline_text(make_baseline({"s": before}, {}, "1"))
    assert "near_tools" not in text
    old = parse_baseline(text.encode(), "b.json").outcomes("s")
    row = rows(gate(old, now))["missing_argument", "restrained"]
    assert (row.by_tool, row.verdict, row.num_now) == (True, "within chance", 300)
    others = {f"other {key}": one for key, one in now.items()}
    row = rows(gate(old, others))["missing_argument", "restrained"]
    assert (row.by_tool, row.verdict, row.num_now) == (False, "within chance", 300)
    far = {key: one._replace(near_tool="another") for key, one in others.items()}
    assert rows(gate(now, far))["missing_argument", "restrained"].num_now == 300


def test_a_baseline_keeps_near_tools() -> None:
    found = moved_together(random.Random(1), "no_tool", general=3)[0]
    again = parse_baseline(baseline_text(make_baseline({"s": found}, {}, "1")).encode(), "b.json")
    assert again.outcomes("s") == found

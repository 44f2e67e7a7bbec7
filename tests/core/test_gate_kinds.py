"""The gate looks at each kind of test requests by itself."""

from __future__ import annotations

from ste_ray.core.records import TestKind
from ste_ray.core.scoring.baseline import (
    Answered,
    Outcomes,
    baseline_text,
    make_baseline,
    parse_baseline,
)
from ste_ray.core.scoring.gate import run_gate
from ste_ray.core.scoring.gate_result import GateResult, Row


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


def test_a_kind_that_only_one_of_them_has_is_not_compared() -> None:
    result = gate(outcomes(explicit=28), outcomes(**ALL))
    assert {one.kind for one in result.rows} == {"explicit"}
    result = gate(outcomes(**ALL), outcomes(explicit=28, natural=25))
    assert {one.kind for one in result.rows} == {"explicit", "natural"}


def test_bounds_are_of_explicit_requests() -> None:
    now = outcomes(explicit=30, natural=0, missing_argument=0, no_tool=30)
    result = run_gate({}, {"s": now}, seed=0, bounds=[("correct", 1.0), ("restrained", 1.0)])
    assert not result.failed
    assert [one.n for one in result.bounds] == [30, 30]


def test_kinds_alone_are_compared_too() -> None:
    result = gate(outcomes(natural=25), outcomes(natural=2))
    assert result.failed
    assert {(one.kind, one.verdict) for one in result.rows if not one.tool} == {
        ("natural", "worse")
    }


def test_a_baseline_keeps_kinds_and_is_what_it_was_without_any() -> None:
    baseline = make_baseline({"s": outcomes(**ALL)}, {}, "1")
    again = parse_baseline(baseline_text(baseline).encode(), "b.json")
    assert again == baseline
    assert again.outcomes("s") == outcomes(**ALL)
    plain = make_baseline({"s": outcomes(explicit=3)}, {}, "1")
    assert "kinds" not in baseline_text(plain)

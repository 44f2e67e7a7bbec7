"""A model with toolkens beside one that calls natively: same base, rows, steps and requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from native_runs import NATIVE, TOOLKEN, Plan, evaluated, trained
from tables import Row

Summary = dict[str, Any]  # what evaluate/summary.json tells
_METRICS = {"tool_match": "right tool", "correct": "right call"}


def compared(plan: Plan) -> tuple[str, list[Row]]:
    """Train and test both forms with every seed; return a title and the table."""
    summaries = [evaluated(plan, seed) for seed in plan.seeds]
    seeds = ", ".join(map(str, plan.seeds))
    tests = ", ".join(str(_of(one, TOOLKEN)["overall"]["correct"]["n"]) for one in summaries)
    rows = [_paired(summaries, *one) for one in _METRICS.items()]
    rows.append(_needless(summaries))
    rows += [_tokens(summaries, kind) for kind in ("prompt", "reply")]
    rows += [_training(plan, *one) for one in _TRAINING.items()]
    title = (
        f"Native calls → toolkens, {plan.model.name}, {plan.steps} steps, {plan.tools} tools in a"
        f" native prompt; seeds {seeds}, with {tests} requests that need a call; differences are"
        " paired, with 95 % intervals clustered by tool"
    )
    return title, rows


def _of(summary: Summary, setting: str) -> dict[str, Any]:
    (found,) = [one for one in summary["settings"] if one["setting"] == setting]
    return dict(found)


def _paired(summaries: Sequence[Summary], metric: str, name: str) -> Row:
    found = []
    for summary in summaries:
        (one,) = [
            one["comparison"]
            for one in summary["differences"]
            if (one["first"], one["second"], one["metric"]) == (NATIVE, TOOLKEN, metric)
        ]
        found.append(one)
    each = "; ".join(
        f"{100 * one['first_share']:.1f} → {100 * one['second_share']:.1f}"
        f" ({_signed(one, 100)}, p = {one['p_value']:.2g})"
        for one in found
    )
    means = [
        sum(one[side] for one in found) / len(found) for side in ("first_share", "second_share")
    ]
    return Row(f"{name}, %", f"mean {100 * means[0]:.1f} → {100 * means[1]:.1f}; {each}")


def _signed(found: dict[str, Any], factor: float) -> str:
    difference = found["difference"] if "difference" in found else found["mean"]
    interval = found["interval"]
    bounds = (
        f", {factor * interval['low']:+.1f} to {factor * interval['high']:+.1f}" if interval else ""
    )
    return f"{factor * difference:+.1f}{bounds}"


def _needless(summaries: Sequence[Summary]) -> Row:
    def called(summary: Summary, setting: str) -> str:
        restraint = _of(summary, setting).get("restraint")
        return f"{restraint['needless_calls']['count']} of {restraint['n']}" if restraint else "–"

    each = [f"{called(one, NATIVE)} → {called(one, TOOLKEN)}" for one in summaries]
    return Row("needless calls", "; ".join(each))


def _tokens(summaries: Sequence[Summary], kind: str) -> Row:
    each = []
    for summary in summaries:
        use = summary["tokens"]
        means = {one["setting"]: one[kind]["mean"] for one in use["settings"]}
        (paired,) = [
            one[kind]
            for one in use["differences"]
            if (one["first"], one["second"]) == (NATIVE, TOOLKEN)
        ]
        each.append(f"{means[NATIVE]:.0f} → {means[TOOLKEN]:.0f} ({_signed(paired, 1)})")
    return Row(f"{kind} tokens a request", "; ".join(each))


def _left_out(counts: dict[str, Any]) -> str:
    return str(counts["skipped_too_long"] + counts.get("refused", 0))


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


_TRAINING: dict[str, Callable[[dict[str, Any]], str]] = {
    "rows trained on": lambda counts: str(counts["rows"]),
    "rows left out": _left_out,
    "seconds a step": lambda counts: f"{counts['seconds_per_step']:.2f}",
    "validation loss": lambda counts: _loss(counts["validation_loss"]),
}


def _training(plan: Plan, name: str, figure: Callable[[dict[str, Any]], str]) -> Row:
    each = [
        " → ".join(figure(trained(plan, form, seed)) for form in ("native", "toolken"))
        for seed in plan.seeds
    ]
    return Row(f"training: {name}", "; ".join(each))

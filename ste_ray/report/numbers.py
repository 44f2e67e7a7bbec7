"""Numbers as people read them: shares, differences, times; shared by the page and the terminal."""

from __future__ import annotations

from ste_ray.core.scoring.answers import AnswerFigures
from ste_ray.core.scoring.macro import ConstantTool, MacroShare
from ste_ray.core.scoring.repeats import RepeatedShare
from ste_ray.core.scoring.results import ResultCounts
from ste_ray.core.scoring.statistics import Interval, Proportion
from ste_ray.core.scoring.tokens import Mean, TokenUse
from ste_ray.core.scoring.unseen import TestNovelty

NOTHING = "\N{EN DASH}"
METRIC_LABELS = {
    "wellformed": "Wellformed",
    "tool_match": "Tool match",
    "correct": "Correct",
    "correct_with_arguments": "Correct, calls with arguments",
    "correct_without_arguments": "Correct, calls without",
    "correct_unseen": "Correct, unseen phrasing and values",
    "restrained": "Restrained",
}


def metric_label(name: str) -> str:
    """Return the display name of a metric."""
    return METRIC_LABELS.get(name, name.replace("_", " "))


def unseen_text(novelty: TestNovelty) -> str:
    """Return how many test queries are unlike any training example, and in what."""
    return (
        f"{novelty.both:,} of {novelty.n:,} test queries, of {novelty.tools:,} tools, have a"
        f" phrasing and at least one value that none of {novelty.training_examples:,} training"
        f" examples has ({novelty.phrasing:,} an unseen phrasing, {novelty.values:,} unseen values)"
    )


def constant_tool_text(constant: ConstantTool) -> str:
    """Return what calling one tool whatever is asked reaches, which a model has to exceed."""
    return (
        f"always calling {constant.tool}, the tool most often right, would match the tool in"
        f" {percent(constant.share)} of all queries and {percent(constant.macro_share)} in this"
        " mean"
    )


def percent(fraction: float | None) -> str:
    """Return a fraction of one as a percentage with one decimal, or a dash for none."""
    return NOTHING if fraction is None else f"{100 * fraction:.1f}%"


def points(fraction: float) -> str:
    """Return a difference of fractions in percentage points, with its sign."""
    return f"{100 * fraction:+.1f}".replace("-", "\N{MINUS SIGN}")


def share_interval(proportion: Proportion | MacroShare | RepeatedShare) -> str:
    """Return the interval of a share in percent, such as ``1.2–3.4``, or a dash for none."""
    bounds = proportion.interval
    if bounds is None:
        return NOTHING
    return f"{100 * bounds.low:.1f}\N{EN DASH}{100 * bounds.high:.1f}"


def difference_interval(bounds: Interval | None) -> str:
    """Return the interval of a difference in percentage points, or a dash for none."""
    return NOTHING if bounds is None else f"{points(bounds.low)} to {points(bounds.high)}"


def tokens(mean: float) -> str:
    """Return a mean number of tokens: with one decimal below 100."""
    return f"{mean:,.1f}" if abs(mean) < 99.95 else f"{mean:,.0f}"


def tokens_interval(mean: Mean) -> str:
    """Return the interval of a mean number of tokens, or a dash for none."""
    bounds = mean.interval
    if bounds is None:
        return NOTHING
    return f"{tokens(bounds.low)}\N{EN DASH}{tokens(bounds.high)}"


def tokens_change(difference: float) -> str:
    """Return a difference in tokens, with its sign."""
    sign = "\N{MINUS SIGN}" if difference < 0 else "+"
    return f"{sign}{tokens(abs(difference))}"


def tokens_change_interval(bounds: Interval | None) -> str:
    """Return the interval of a difference in tokens, or a dash for none."""
    if bounds is None:
        return NOTHING
    return f"{tokens_change(bounds.low)} to {tokens_change(bounds.high)}"


def tokens_text(use: TokenUse) -> str:
    """Return over which requests tokens were counted, and of which settings they are not known."""
    text = f"{use.n:,} of {use.of:,} test requests, those whose tokens every setting counted"
    if use.uncounted:
        text += f"; not known of {', '.join(use.uncounted)}"
    return text


def prompt_tokens_text(use: TokenUse | None, first: str, last: str) -> str:
    """Return the tokens of a prompt in two settings, or in one; empty unless they are known.

    Args:
        use: tokens of all settings; None: nobody knows any.
        first: a setting.
        last: another one, or the same.
    """
    means = {one.setting: tokens(one.prompt.mean) for one in use.settings} if use else {}
    names = dict.fromkeys((first, last))
    if not means.keys() >= names.keys():
        return ""
    shown = " \N{RIGHTWARDS ARROW} ".join(means[name] for name in names)
    return f"{shown} prompt tokens a request"


def p_value(value: float) -> str:
    """Return a p-value with four decimals; smaller ones as a bound."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def duration(seconds: float) -> str:
    """Return a time span in at most two units: 4.2 s, 1 min 05 s, 2 h 10 min."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def results_text(counts: ResultCounts) -> str:
    """Say what executing calls with wrong arguments has shown."""
    executed = counts.same + counts.different + counts.indistinct + counts.failed
    return (
        f"{executed:,} calls with wrong arguments were executed beside the right ones:"
        f" {counts.same:,} came to the same and count as right, {counts.different:,} did not,"
        f" {counts.indistinct:,} to what other requests have too, and of {counts.failed:,} the"
        " right call failed"
    )


def answers_text(figures: AnswerFigures) -> str:
    """Say what final answers are worth."""
    counts = figures.counts
    return (
        f"of {figures.n:,} calls that a tool answered, {percent(figures.supported.share)}"
        f" ({share_interval(figures.supported)}) of the final answers tell what it said and"
        f" nothing from nowhere; {counts['unanswered']:,} tell nothing of it,"
        f" {counts['unsupported']:,} a number or a claim that nobody gave,"
        f" {counts['missing']:,} are missing or another call;"
        f" decided by rules: {figures.num_by_rules:,}, by the judge: {figures.num_by_judge:,},"
        f" undecided: {counts['undecided']:,}"
    )

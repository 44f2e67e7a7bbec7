"""What asking the test requests in other ways showed, as Markdown and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ste_ray.core.scoring.repeats import Repeated, RepeatedSetting, RepeatedShare
from ste_ray.core.scoring.robustness import PerturbedSetting
from ste_ray.core.scoring.statistics import Proportion
from ste_ray.core.scoring.sweep import SweepPoint
from ste_ray.report.markdown_tables import escaped, table
from ste_ray.report.numbers import (
    NOTHING,
    difference_interval,
    p_value,
    percent,
    points,
    share_interval,
    tokens,
    tokens_interval,
)
from ste_ray.report.terminal_tables import aligned

_REPEATED = ("times", "one answer", "at least once", "always", "flipping", "n")
_REPEATED_NOTE = (
    "'at least once' (pass@k) and 'always' (pass^k): shares of requests of which one, or every"
    " answer is right; 'flipping': of which some are right and some are not"
)

_SWEEP_NOTE = (
    "the right tool stands among others of the run, and of a catalogue beyond them; settings with"
    " 'none' show no tools in their prompts, whatever there are"
)

_CHANGED = (
    *("change", "correct before", "correct", "points", "gained", "lost", "McNemar p"),
    *("tool match, points", "n"),
)
_CHANGED_NOTE = (
    "of the requests whose right tool was described otherwise; what is right stays as it is"
)


def repeats_markdown(repeats: Sequence[RepeatedSetting]) -> Iterator[str]:
    """Yield what requests asked several times showed; nothing where none was."""
    if not repeats:
        return
    yield "### The same request asked again"
    for name, rows in _kinds(repeats):
        body = [[escaped(one.setting), *_cells(one.times, found)] for one, found in rows]
        yield table([name, *_REPEATED], body)
    yield f"{_REPEATED_NOTE.capitalize()}. 95% intervals, clustered by tool."


def repeats_table(repeats: Sequence[RepeatedSetting]) -> str:
    """Return the same for a terminal; empty where no request was asked several times."""
    tables = [
        aligned([name, *_REPEATED], [[one.setting, *_cells(one.times, found)]
                                     for one, found in rows])
        for name, rows in _kinds(repeats)
    ]  # fmt: skip
    return "\n".join([*tables, _REPEATED_NOTE]) if tables else ""


def sweep_markdown(points: Sequence[SweepPoint]) -> Iterator[str]:
    """Yield what other numbers of tools in prompts showed; nothing where none were."""
    if not points:
        return
    yield "### More and more tools in the prompt"
    header, rows = _sweep_rows(points)
    yield table(["setting", *header], [[escaped(name), *cells] for name, *cells in rows])
    yield f"{_SWEEP_NOTE.capitalize()}. 95% intervals, clustered by tool."


def sweep_table(points: Sequence[SweepPoint]) -> str:
    """Return the same for a terminal; empty where no other numbers were shown."""
    if not points:
        return ""
    header, rows = _sweep_rows(points)
    return f"{aligned(['tools in the prompt', *header], rows)}\n{_SWEEP_NOTE}"


def robustness_markdown(found: Sequence[PerturbedSetting]) -> Iterator[str]:
    """Yield what describing tools otherwise showed; nothing where it was not tried."""
    if not found:
        return
    yield "### Tools described otherwise"
    rows = [[escaped(name), escaped(kind), *cells] for name, kind, *cells in _changes(found)]
    yield table(
        ["setting", *_CHANGED], [[one.replace("< ", "&lt; ") for one in row] for row in rows]
    )
    yield f"{_CHANGED_NOTE.capitalize()}. 95% intervals, clustered by tool."


def robustness_table(found: Sequence[PerturbedSetting]) -> str:
    """Return the same for a terminal; empty where it was not tried."""
    if not found:
        return ""
    rows = aligned(["tools described otherwise", *_CHANGED], list(_changes(found)))
    return f"{rows}\n{_CHANGED_NOTE}"


def _changes(found: Sequence[PerturbedSetting]) -> Iterator[list[str]]:
    for one in found:
        correct = one.correct
        yield [
            one.setting,
            one.perturbation.replace("_", " "),
            *(percent(correct.first_share), percent(correct.second_share)),
            f"{points(correct.difference)} ({difference_interval(correct.interval)})",
            *(str(correct.only_second), str(correct.only_first), p_value(correct.p_value)),
            points(one.tool_match.difference),
            f"{correct.n:,}",
        ]


def _sweep_rows(points: Sequence[SweepPoint]) -> tuple[list[str], list[list[str]]]:
    refraining = any(one.needless_calls for one in points)
    left_out = any(one.num_left_out for one in points)
    header = ["tools", "tool match", "correct", *(["needless calls"] if refraining else [])]
    header += ["prompt tokens", *(["did not fit"] if left_out else []), "n"]
    rows = []
    for one in points:
        mean = one.prompt_tokens
        row = [one.setting, f"{one.num_tools:,}" if one.num_tools else "none"]
        row += [_share(one.figures.tool_match), _share(one.figures.correct)]
        row += [_share(one.needless_calls) if one.needless_calls else NOTHING] * refraining
        row += [f"{tokens(mean.mean)} ({tokens_interval(mean)})" if mean else NOTHING]
        row += [f"{one.num_left_out:.1f}"] * left_out
        rows.append([*row, f"{one.figures.n:,}"])
    return header, rows


def _kinds(
    repeats: Sequence[RepeatedSetting],
) -> Iterator[tuple[str, list[tuple[RepeatedSetting, Repeated]]]]:
    """Yield the heading and the settings of requests that need a call, and that need none."""
    calls = [(one, one.calls) for one in repeats if one.calls is not None]
    no_call = [(one, one.no_call) for one in repeats if one.no_call is not None]
    if calls:
        yield "asked again", calls
    if no_call:
        yield "asked again, no call needed", no_call


def _cells(times: int, found: Repeated) -> list[str]:
    shares = (found.always[0], found.at_least_once[-1], found.always[-1], found.flipping)
    return [str(times), *map(_share, shares), f"{found.n:,}"]


def _share(share: RepeatedShare | Proportion) -> str:
    if share.share is None:
        return NOTHING
    return f"{percent(share.share)} ({share_interval(share)})"

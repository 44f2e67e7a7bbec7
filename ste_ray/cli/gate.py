"""``ste-ray evaluate --gate``: whether a run is worse than a baseline, for pull requests."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ste_ray.core.scoring.gate_figures import BOUNDED, FIGURES, GROUP_FIGURES
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.errors import ConfigError
from ste_ray.process import stopping
from ste_ray.process.output import print_json, say, write_text

if TYPE_CHECKING:
    from ste_ray.stages.base import StageContext

WORSE = 1  # exit code of a gate that fails


def add_gate_options(command: argparse.ArgumentParser) -> None:
    """Declare the options of a gate."""
    options = command.add_argument_group(
        "gate", "exit code 1 if a figure is worse; a run that is evaluated is not evaluated anew"
    )
    options.add_argument(
        "--gate",
        metavar="BASELINE",
        help="compare with FILE.json of --save-baseline, or with another run",
    )
    options.add_argument(
        "--min",
        dest="bounds",
        action="append",
        default=[],
        type=_bound,
        metavar="FIGURE=SHARE",
        help="fail below this share, e.g. tool_match=0.95 or natural.correct=0.8 "
        f"(of {', '.join(FIGURES)}; or of {', '.join(GROUP_FIGURES)}); repeatable",
    )
    options.add_argument(
        "--setting",
        dest="settings",
        action="append",
        default=[],
        metavar="MODEL/PROMPT",
        help="to look at (default: the last one of the run); repeatable",
    )
    options.add_argument(
        "--overall", action="store_true", help="compare figures over all tools only"
    )
    options.add_argument("--junit", metavar="FILE", help="write the result as JUnit XML")
    options.add_argument("--markdown", metavar="FILE", help="write it for a pull request")
    options.add_argument(
        "--save-baseline",
        metavar="FILE.json",
        help="write the outcomes of the run to compare others with, unless the gate fails",
    )


def asks_for_gate(options: argparse.Namespace) -> bool:
    """Whether a command wants a gate, or a baseline for one.

    Raises:
        ConfigError: it gives options of a gate without one, or a name that no baseline may have.
    """
    judged = options.gate is not None or bool(options.bounds)
    alone = {
        "--setting": options.settings,
        "--overall": options.overall,
        "--junit": options.junit,
        "--markdown": options.markdown,
    }
    for option, value in alone.items():
        if value and not judged:
            raise ConfigError(f"{option} is of a gate; give --gate BASELINE or --min FIGURE=SHARE")
    target = options.save_baseline
    if target is not None and not target.endswith(".json"):
        raise ConfigError(f"--save-baseline {target!r}: a baseline is a file called ….json")
    return judged or target is not None


def gate(
    options: argparse.Namespace,
    context: StageContext,
    evaluate: Callable[[argparse.Namespace, StageContext], Any],
) -> int:
    """Gate a run and save its outcomes, as the options ask; evaluate it first if it is not.

    Args:
        options: of the command.
        context: of the run.
        evaluate: runs the stage.

    Returns:
        The exit code.

    Raises:
        SteRayError: the run or the baseline cannot be used.
    """
    from ste_ray.stages.evaluate import gating
    from ste_ray.stages.running import check_stages

    baseline = gating.read_baseline(options.gate) if options.gate is not None else None
    if baseline is not None:
        gating.require_settings(options.settings, baseline, options.gate)
    if not gating.is_evaluated(context.store):
        evaluate(options, context)
    elif options.config or options.overrides:
        check_stages(("evaluate",), context)  # a run of another configuration is refused as always
    stopping.working()
    now = gating.read_outcomes(context.store)
    judged = baseline is not None or bool(options.bounds)
    code = 0
    if judged:
        code = _judge(options, context, now, baseline)
    if options.save_baseline and code != WORSE:
        from ste_ray.core.scoring.baseline import baseline_text
        from ste_ray.store.single_files import write_single_file

        write_single_file(options.save_baseline, baseline_text(now))
        say(f"evaluate: the baseline is {options.save_baseline}")
        if options.json and not judged:
            print_json({"baseline": options.save_baseline, "settings": now.settings})
    return code


def _judge(options: argparse.Namespace, context: StageContext, now: Any, baseline: Any) -> int:
    from ste_ray.core.scoring.gate import run_gate
    from ste_ray.report.gate import gate_markdown, gate_report, gate_text
    from ste_ray.report.junit import gate_junit
    from ste_ray.stages.evaluate import gating
    from ste_ray.store.single_files import write_single_file

    run, source = context.store.uri, options.gate or ""
    settings = gating.chosen_settings(options.settings, now, run)
    if baseline is not None:
        gating.require_settings(settings, baseline, source)
    of_unseen = any(BOUNDED[name][0] == "unseen" for name, _ in options.bounds)
    result = run_gate(
        {} if baseline is None else {one: baseline.outcomes(one) for one in settings},
        {one: now.outcomes(one) for one in settings},
        bounds=options.bounds,
        unseen=gating.read_unseen(context.store) if of_unseen else None,
        each_tool=not options.overall,
        seed=context.config.seed,
    )
    report = gate_report(result, run, now, source, baseline)
    if options.junit:
        write_single_file(options.junit, gate_junit(report, time.time()))
    if options.markdown:
        write_single_file(options.markdown, gate_markdown(report))
    if options.json:
        print_json({"headline": report.headline, **report.model_dump(mode="json")})
    else:
        write_text(gate_text(report))
    return WORSE if result.failed else 0


def _bound(text: str) -> tuple[str, float]:
    """Read ``FIGURE=SHARE``, ``KIND=SHARE`` or ``KIND.FIGURE=SHARE``.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    name, _, written = text.partition("=")
    if name not in BOUNDED:
        raise argparse.ArgumentTypeError(
            f"{text!r} is of no figure{_meant(name)}, as tool_match=0.95 or natural.correct=0.8"
        )
    try:
        share = float(written)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} has no share; give a fraction from 0 to 1, as {name}=0.95"
        )
    return name, share


def _meant(name: str) -> str:
    """Say what may have been meant by a name, and which names there are."""
    group = name.partition(".")[0]
    for known, figures in GROUP_FIGURES.items():
        if group == known:
            near = did_you_mean(name, [f"{known}.{figure}" for figure in figures])
            return f"{near}; give one of {known} ({', '.join(figures)})"
    return (
        f"{did_you_mean(name, BOUNDED)}; give one of {', '.join(FIGURES)},"
        f" or of a kind: {', '.join(GROUP_FIGURES)}"
    )

"""``ste-ray STAGE``, and ``pipeline``, which runs all of them."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ste_ray.cli.gate import add_gate_options, asks_for_gate, gate
from ste_ray.core import layout
from ste_ray.core.stages import STAGES
from ste_ray.errors import ConfigError
from ste_ray.process.output import print_json, print_result, say, write_text

if TYPE_CHECKING:
    from ste_ray.config import Config
    from ste_ray.stages.base import StageContext
    from ste_ray.store.manifest import StageManifest

_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray for the driver of a submitted job
_STAGE_HELP = {
    "explore": "simulated trial and error: imagine queries, call tools, reflect",
    "prepare": "select, judge, paraphrase, split and format the trials",
    "retrieve": "find candidate tools and demonstrations for each test query",
    "train": "fine-tune with one added token a tool",
    "infer": "run the models before and after training on the test split",
    "evaluate": "score the predictions and write report.html",
    "continual": "train on rounds of tools, one after the other, and see what is forgotten",
}


def add_stage_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Add a command for each stage, and ``pipeline``."""
    for stage in (*STAGES, "continual"):
        command = commands.add_parser(stage, help=_STAGE_HELP[stage])
        add_run_options(command, run_required=stage != "evaluate")
        command.set_defaults(function=_run_stages, stages=(stage,), show=False)
        if stage == "explore":
            _add_explore_options(command)
        if stage == "evaluate":
            _add_study_options(command)
            add_gate_options(command)
    pipeline = commands.add_parser("pipeline", help="all stages in order; goes on where it stopped")
    add_run_options(pipeline, run_required=True)
    pipeline.set_defaults(function=_run_stages, stages=STAGES, show=False)


def add_run_options(
    command: argparse.ArgumentParser, run_required: bool, joins_cluster: bool = True
) -> None:
    """Add the options of all commands that run stages: where, with which configuration."""
    command.add_argument(
        "--run", required=run_required, metavar="URI", help="a folder or s3://bucket/prefix"
    )
    command.add_argument("--config", metavar="FILE.yaml", help="configuration; see jobs/*.yaml")
    if joins_cluster:
        command.add_argument("--address", help="Ray cluster to join (default: RAY_ADDRESS)")
        command.add_argument(
            "--again",
            action="store_true",
            help="in a Ray job: try although the same configuration has failed for good before",
        )
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="e.g. explore.max_turns=3"
    )


def _add_explore_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--show", action="store_true", help="print conversations live")
    other = command.add_mutually_exclusive_group()
    other.add_argument(
        "--estimate", action="store_true", help="only say what it would take: calls, tokens, cost"
    )
    other.add_argument(
        "--dry-run", action="store_true", help="only say which tools would be called, and how"
    )
    other.add_argument(
        "--replay", action="store_true", help="rerun a finished run from its journal, asking nobody"
    )
    command.set_defaults(function=_explore)


def _add_study_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--predictions", metavar="FILE.json", help="score this file instead of a run"
    )
    command.add_argument(
        "--profile",
        choices=["strict", "ste-2024"],
        default="strict",
        help="rules for --predictions: ours, by the schemas of tools.files (default); the study's",
    )
    command.add_argument("--verdicts", choices=["recorded", "rules"], default="rules")
    command.add_argument(
        "--string-match-apis", metavar="FILE.json", help="APIs whose arguments are compared as text"
    )
    command.set_defaults(function=_evaluate)


def _run_stages(options: argparse.Namespace) -> None:
    if options.show and options.json:
        raise ConfigError("--show and --json both write to standard output; give one of them")
    started, context = time.time(), stage_context(options)
    store, manifests = context.store, _run(options, context)
    results = [
        {"stage": m.stage, "run": store.uri, "seconds": m.seconds, "counts": m.counts}
        | ({"stopped_by": m.stopped_by} if m.stopped_by else {})
        for m in manifests
    ]
    if options.json:
        print_json(results[0] if len(results) == 1 else results)
        return
    for manifest in manifests:
        if manifest.started_at >= started:
            ended = "stopped" if manifest.stopped_by else "done"
            say(f"{manifest.stage}: {ended} after {manifest.seconds:.1f} s")
        write_text(stage_text(manifest.stage, manifest.counts, store))


def _run(options: argparse.Namespace, context: StageContext) -> list[StageManifest]:
    """Run the stages of a command, under Ray."""
    from ste_ray.stages.cluster.connect import ray_connection
    from ste_ray.stages.registry import run_stages

    _check_before_ray(options.stages, context)
    with ray_connection(options.address):
        return run_stages(options.stages, context)


def _explore(options: argparse.Namespace) -> None:
    if not (options.estimate or options.replay or options.dry_run):
        _run_stages(options)
        return
    context = stage_context(options)
    if options.dry_run:
        from ste_ray.stages.explore.dry_run import dry_run, dry_run_lines
        from ste_ray.stages.shared.tools import survey_tools

        tools, refusal = survey_tools(context.config.tools)
        plan = dry_run(tools, context.config)
        print_result(plan, dry_run_lines(plan), options.json)
        if refusal is not None:  # a person has seen of each tool why
            raise refusal
        return
    if options.estimate:
        from ste_ray.stages.explore.estimate import as_lines, estimate_explore, recorded_answers

        figures = estimate_explore(context, recorded_answers(context.store))
        print_json(figures) if options.json else write_text(as_lines(figures))
        return
    from ste_ray.stages.explore.replay import replay_exploration, require_equal

    figures = replay_exploration(context)
    print_json(figures) if options.json else write_text(f"replay\n{_figures(figures)}")
    require_equal(figures)


def _config(options: argparse.Namespace) -> Config:
    from ste_ray.config import load_config

    return load_config(options.config, options.overrides)


def stage_context(options: argparse.Namespace) -> StageContext:
    """Return what the stages work with, from the command's options."""
    config = _config(options)
    # Ray and torch take seconds to import; bad arguments are answered before that.
    from ste_ray.stages.base import StageContext
    from ste_ray.store.artifacts import open_store

    return StageContext(
        config=config,
        store=open_store(options.run),
        progress=say,
        show=options.show,
        live=not (options.json or options.show),
        # Whoever starts a command by hand has seen why it failed; a job may be a resubmission.
        again=options.again or _JOB_VARIABLE not in os.environ,
    )


def _evaluate(options: argparse.Namespace) -> int:
    gated = asks_for_gate(options)
    if options.predictions is None:
        if options.run is None:
            raise ConfigError("evaluate needs --run URI, or --predictions FILE")
        if gated:
            return gate(options, stage_context(options), _run)
        _run_stages(options)
        return 0
    if options.run is not None:
        raise ConfigError("--predictions scores a file of its own; leave out --run")
    if gated:
        raise ConfigError("a gate looks at a run; give --run URI in place of --predictions")
    _evaluate_file(options)
    return 0


def _evaluate_file(options: argparse.Namespace) -> None:
    if options.profile == "strict":
        _score_predictions(options)
        return
    from ste_ray.imports.study_results import score_study_file

    report = score_study_file(options.predictions, options.verdicts, options.string_match_apis)
    figures = report.model_dump()
    if options.json:
        print_json(figures)
    else:
        write_text(_figures(figures))


def _score_predictions(options: argparse.Namespace) -> None:
    """Score a file by the strict rules, under the schemas of the configured tools."""
    config = _config(options)
    from ste_ray.imports.predictions import read_predictions
    from ste_ray.report.terminal import summary_table
    from ste_ray.resources import resource_folder
    from ste_ray.stages.evaluate.stage import score_predictions
    from ste_ray.tools.spec.files import read_tool_files

    predictions = read_predictions(options.predictions)
    shipped = resource_folder("tool_metadata")
    files = read_tool_files(config.tools.files, config.tools.include, shipped=shipped)
    summary = score_predictions(predictions, files.specs, config)
    if options.json:
        print_json(summary.model_dump(mode="json"))
    else:
        write_text(f"{summary_table(summary)}\n")


def _check_before_ray(stages: Sequence[str], context: StageContext) -> None:
    """Find mistakes in tool files, endpoints, models and the choice of the run before Ray."""
    from ste_ray.stages.needs import check_models
    from ste_ray.stages.running import check_stages
    from ste_ray.stages.shared.endpoints import check_before_ray

    check_before_ray(context.config, context.store, stages)
    if "explore" in stages:
        _ = context.configured_tools  # handed over to the stage
    check_stages(stages, context)
    check_models(context.config, context.store, stages)


def stage_text(stage: str, counts: Mapping[str, Any], store: Any) -> str:
    """Return what a stage made, for a person; of an evaluation the table of its report."""
    path = layout.EVALUATION_SUMMARY
    if stage != "evaluate" or not store.exists(path):
        return f"{stage}\n{_figures(counts)}"
    from ste_ray.core.scoring.evaluation import EvaluationSummary
    from ste_ray.report.terminal import summary_table

    others = {name: value for name, value in counts.items() if name != "settings"}
    table = summary_table(EvaluationSummary.model_validate(store.read_json(path)))
    return f"{stage}\n{_figures(others)}\n{table}\n"


def _figures(figures: Mapping[str, Any]) -> str:
    from ste_ray.report.counts import counts_text

    return counts_text(figures)

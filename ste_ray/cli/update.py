"""``ste-ray update``: a new run of an old one, for tools that changed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ste_ray.cli.stages import add_run_options, stage_context, stage_text
from ste_ray.process.output import print_json, print_result, say, write_text

if TYPE_CHECKING:
    from ste_ray.stages.base import StageContext
    from ste_ray.stages.update.planning import Update
    from ste_ray.stages.update.running import Updated


def add_update_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "update",
        help="a new run from a trained one: explore and learn only what changed in the tools",
        description="Make a new run of a trained one whose tools changed. Only new and changed"
        " tools are explored; the data of the others are taken over, and their model is trained"
        " further.",
    )
    command.add_argument(
        "--from", dest="source", required=True, metavar="OLD", help="run to go on from, only read"
    )
    add_run_options(command, run_required=True)
    command.add_argument(
        "--dry-run", action="store_true", help="only say what would be done, and what it costs"
    )
    # Ray is started, as for stages: ``stages`` says so.
    command.set_defaults(function=_update, stages=("update",), show=False)


def _update(options: argparse.Namespace) -> None:
    context = stage_context(options)
    from ste_ray.stages.update.planning import plan_update
    from ste_ray.store.artifacts import open_store

    update = plan_update(context, open_store(options.source))
    if options.dry_run:
        from ste_ray.stages.update.estimating import estimate_lines, estimate_update

        found = estimate_update(context, update)
        print_result(found, estimate_lines(found), options.json)
        return
    made = _run(options, context, update)
    if options.json:
        print_json(_result(context, made))
        return
    for manifest in made.manifests:
        write_text(stage_text(manifest.stage, manifest.counts, context.store))
    if made.summary is not None:
        from ste_ray.report.updating import update_text

        write_text(update_text(made.summary))


def _run(options: argparse.Namespace, context: StageContext, update: Update) -> Updated:
    from ste_ray.stages.cluster.connect import ray_connection
    from ste_ray.stages.update.running import check_before_ray, run_update

    check_before_ray(context, update)
    counts = update.groups.as_counts()
    say(f"update: {', '.join(f'{number} {name}' for name, number in counts.items() if number)}")
    with ray_connection(options.address):
        return run_update(context, update)


def _result(context: StageContext, made: Updated) -> dict[str, Any]:
    stages = [
        {"stage": one.stage, "seconds": one.seconds, "counts": one.counts} for one in made.manifests
    ]
    summary = made.summary.model_dump(mode="json") if made.summary else None
    stopped = {"stopped_by": made.stopped_by} if made.stopped_by else {}
    return {"run": context.store.uri, "stages": stages, "summary": summary, **stopped}

"""The stages by name. A stage's module is imported only when the stage is run."""

from __future__ import annotations

from importlib import import_module

from ste_ray.stages.base import StageBody, StageContext
from ste_ray.stages.running import run_stage
from ste_ray.store.manifest import StageManifest


def stage_body(stage: str) -> StageBody:
    """Return the function that runs ``stage``, one of ``core.stages.STAGES``."""
    body: StageBody = import_module(f"ste_ray.stages.{stage}.stage").run
    return body


def run_stages(names: tuple[str, ...], context: StageContext) -> list[StageManifest]:
    """Run the named stages in order; a stage that is complete is skipped.

    They end at one that was stopped before its work was done.
    """
    manifests = []
    for name in names:
        manifests.append(run_stage(name, context.for_stage(), stage_body(name)))
        if manifests[-1].stopped_by and name != names[-1]:
            context.progress(
                f"{name}: the stages after it are not run; raise the limit and run the same "
                "command again, or run them by themselves on what is there"
            )
            break
    return manifests

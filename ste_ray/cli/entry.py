"""Where commands and job scripts begin: SIGTERM is heeded before the rest is imported."""

from __future__ import annotations

from typing import NoReturn

from ste_ray.process import stopping


def entry() -> NoReturn:
    """The console script."""
    stopping.starting()
    from ste_ray.cli.main import entry as enter

    enter()


def run_job(stage: str) -> NoReturn:
    """Run ``stage`` with the arguments of a job script."""
    stopping.starting()
    from ste_ray.cli.main import run_job as run

    run(stage)

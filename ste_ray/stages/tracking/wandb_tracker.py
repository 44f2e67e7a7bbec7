"""Weights & Biases: https://docs.wandb.ai. ``WANDB_…`` variables say where runs go.

Of the machine, the command and the code nothing is sent, nor what is printed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ste_ray.stages.tracking.tracker import NotUsableError, TrackedStage

PROJECT = "ste-ray"
_LOCAL_MODES = ("offline", "disabled", "dryrun")
# The arguments of the command, which the "meta" data hold, may name what is nobody's business.
_SENT_NOTHING = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "host": "",
    "save_code": False,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}


class WandbTracker:
    """One run of W&B; those of one run of ours are a group."""

    def __init__(self) -> None:
        self._run: Any = None

    def begin(self, stage: TrackedStage) -> None:
        """Open a run.

        Raises:
            NotUsableError: wandb is not installed, or there is no key.
        """
        # It would praise another product between the lines of the stage.
        os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")
        try:
            import wandb
        except ImportError:
            raise NotUsableError("wandb is not installed: pip install 'ste-ray[wandb]'") from None
        mode = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode
        # Without this a person at a terminal would be asked for a key, in the middle of the stage.
        if mode not in _LOCAL_MODES and not wandb.login(prompt=False):
            raise NotUsableError(
                "there is no key: set WANDB_API_KEY, or WANDB_MODE=offline to keep runs here"
            )
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            group=stage.run,
            job_type=stage.stage,
            name=stage.title,
            config={**stage.config, "code_version": stage.code_version},
            reinit="create_new",
            settings=wandb.Settings(silent=True, **_SENT_NOTHING),
        )

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Add figures of one point in time."""
        self._run.log(dict(figures), step=step)

    def end(self, figures: Mapping[str, float], complete: bool) -> None:
        """Add figures of the whole and close the run, as failed if it is not complete."""
        self._run.summary.update(dict(figures))
        self._run.finish(exit_code=0 if complete else 1)

"""What a tracker of experiments must fulfil; one run of it is one attempt at a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol


@dataclass(frozen=True)
class TrackedStage:
    """What is tracked. Nothing of it is secret.

    Attributes:
        run: name of the run.
        stage: name of the stage.
        config: what decides its result.
        code_version: of this project.
    """

    run: str
    stage: str
    config: Mapping[str, Any]
    code_version: str

    @property
    def title(self) -> str:
        """The name under which trackers show it."""
        return f"{self.run}/{self.stage}"


class Tracker(Protocol):
    """Sends the figures of one stage somewhere; each method may raise whatever it likes."""

    def begin(self, stage: TrackedStage) -> None:
        """Open a run of the tracker."""

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Add figures of one point in time."""

    def end(self, figures: Mapping[str, float], complete: bool) -> None:
        """Add figures of the whole and close the run.

        Args:
            figures: of the whole.
            complete: whether the stage was completed.
        """


def run_name(uri: str) -> str:
    """Return the name of the run at an address: its last part."""
    return PurePosixPath(uri.rstrip("/")).name or "run"


class NotUsableError(Exception):
    """A tracker cannot be used; the message says what to do."""

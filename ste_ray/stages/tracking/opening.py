"""Opens the trackers that ``track`` names, for one stage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ste_ray import __version__
from ste_ray.core.texts.addresses import without_credentials
from ste_ray.core.texts.masking import Masker
from ste_ray.stages.tracking.mlflow_tracker import MlflowTracker
from ste_ray.stages.tracking.tracker import TrackedStage, Tracker, run_name
from ste_ray.stages.tracking.tracking import Tracking
from ste_ray.stages.tracking.wandb_tracker import WandbTracker

_TRACKERS: dict[str, Callable[[], Tracker]] = {"wandb": WandbTracker, "mlflow": MlflowTracker}


def open_tracking(
    names: Collection[str],
    uri: str,
    stage: str,
    config: Mapping[str, Any],
    masker: Masker,
    say: Callable[[str], None],
) -> Tracking:
    """Open the trackers of ``names``; what is none of them is somebody else's.

    Args:
        names: as ``track`` has them.
        uri: of the run.
        stage: that begins.
        config: what decides its result.
        masker: masks the secrets of this process in whatever is sent and said.
        say: says a line to the person who waits.
    """
    trackers = {name: make() for name, make in _TRACKERS.items() if name in names}
    if not trackers:
        return Tracking()
    tracked = TrackedStage(
        run=run_name(uri),
        stage=stage,
        config=without_secrets(config, masker),
        code_version=__version__,
    )
    return Tracking(tracked, trackers, lambda line: say(masker.mask(line)))


def without_secrets(value: Any, masker: Masker) -> Any:
    """Return a JSON value without secrets; its addresses have neither users nor queries."""
    if isinstance(value, str):
        return without_credentials(masker.mask(value))
    if isinstance(value, Mapping):
        return {name: without_secrets(one, masker) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(one, masker) for one in value]
    return value

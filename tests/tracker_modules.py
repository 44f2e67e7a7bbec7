"""W&B and MLflow, as ``make third-party`` fetches them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / ".third-party" / "trackers"

needs_trackers = pytest.mark.skipif(
    not (FOLDER / "wandb").is_dir(),
    reason="W&B and MLflow are not there ('make third-party' fetches them)",
)


def use_trackers(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let W&B and MLflow be imported, and keep what they are told in ``folder``."""
    # Modules that were imported stay: W&B joins a process of its own, which ends with this one.
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    for name in ("WANDB_PROJECT", "WANDB_API_KEY", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(folder))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(folder / "wandb-cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(folder / "wandb-config"))
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (folder / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    # On a busy machine W&B's process may take long to start.
    monkeypatch.setattr("ste_ray.stages.tracking.tracking._STOP_SECONDS", 60.0)
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()  # it reads the environment once

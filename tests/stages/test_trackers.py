"""W&B and MLflow themselves, told of a stage and keeping it in local files."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ste_ray.core.texts.masking import Masker
from ste_ray.stages.tracking.opening import open_tracking
from tests.tracker_modules import FOLDER, needs_trackers, use_trackers
from tests.wandb_file import records

CONFIG = {"seed": 3, "train": {"learning_rate": 1e-3, "tools": ["a", "b"], "names": {"x:y": "z"}}}
# So that arguments and variables of a command are there, as they are where a person gives one.
PROGRAM = f"""
import sys
sys.path.append({str(FOLDER)!r})
from ste_ray.core.texts.masking import Masker
from ste_ray.stages.tracking.opening import open_tracking

def main():
    tracking = open_tracking(["wandb"], "runs/r", "train", {{"seed": 3}}, Masker({{}}), print)
    tracking.log({{"train/loss": 0.5}}, 1)
    print("printed-secret")
    tracking.end({{"train/steps": 1}}, complete=True)

main()
"""


def track(names, *, complete=True):
    """Track a small stage; return what was said."""
    said: list[str] = []
    tracking = open_tracking(names, "s3://bucket/runs/r/", "train", CONFIG, Masker({}), said.append)
    for step in (1, 2, 3):
        tracking.log({"train/loss": 1 / step, "train/faults/rate limited": step}, step)
    tracking.end({"train/steps": 3, "train/settings/tuned/toolken/correct": 0.75}, complete)
    return said


def wandb_runs(folder: Path):
    """Return the records of each run that W&B has kept, by kind; its process writes them late."""
    paths = list(folder.glob("wandb/offline-run-*/run-*.wandb"))
    return [kept(path) for path in paths]


def kept(path: Path, seconds: float = 30.0):
    """Return the records of a run, once it has ended."""
    deadline = time.monotonic() + seconds
    while True:
        found: dict[str, list] = {}
        for record in records(path):
            kind = record.WhichOneof("record_type")
            found.setdefault(kind, []).append(getattr(record, kind))
        if "exit" in found:
            return found
        assert time.monotonic() < deadline, f"the run has not ended: {list(found)}"
        time.sleep(0.02)


def values(items):
    return {
        one.key or "/".join(one.nested_key): json.loads(one.value_json)
        for one in items
        if not (one.key or one.nested_key[0]).startswith("_")
    }


@needs_trackers
def test_wandb_keeps_configuration_curves_and_figures(tmp_path, monkeypatch):
    use_trackers(monkeypatch, tmp_path)
    assert track(["wandb"]) == []
    (found,) = wandb_runs(tmp_path)
    (run,) = found["run"]
    assert (run.project, run.run_group, run.job_type) == ("ste-ray", "r", "train")
    assert run.display_name == "r/train"
    assert run.host == ""
    config = values(run.config.update)
    assert config["seed"] == 3
    assert config["train"] == CONFIG["train"]
    curve = [(one.step.num, values(one.item)["train/loss"]) for one in found["history"]]
    assert curve == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    summary = {}
    for one in found["summary"]:
        summary |= values(one.update)
    assert summary["train/steps"] == 3
    assert summary["train/settings/tuned/toolken/correct"] == 0.75
    assert found["exit"][0].exit_code == 0


@needs_trackers
def test_wandb_is_told_where_a_stage_failed(tmp_path, monkeypatch):
    use_trackers(monkeypatch, tmp_path)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    assert track(["wandb"], complete=False) == []
    (found,) = wandb_runs(tmp_path)
    assert found["run"][0].project == "mine"
    assert found["exit"][0].exit_code == 1


@needs_trackers
def test_wandb_gets_nothing_of_the_command_and_of_what_is_printed(tmp_path, monkeypatch):
    use_trackers(monkeypatch, tmp_path)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setenv("OPENAI_API_KEY", "environment-secret")
    done = subprocess.run(
        [sys.executable, str(program), "argument-secret"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout == "printed-secret\n"
    kept = [path for path in tmp_path.glob("wandb/**/*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in kept)
    for path in kept:
        data = path.read_bytes()
        for secret in (b"argument-secret", b"printed-secret", b"environment-secret", b"program.py"):
            assert secret not in data, path


@needs_trackers
def test_without_a_key_nobody_is_asked_for_one(tmp_path, monkeypatch):
    use_trackers(monkeypatch, tmp_path)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    (line,) = track(["wandb"])
    assert line.startswith("train: wandb is told nothing more (there is no key: set WANDB_API_KEY")
    assert not wandb_runs(tmp_path)


@needs_trackers
def test_mlflow_keeps_configuration_curves_and_figures(tmp_path, monkeypatch):
    use_trackers(monkeypatch, tmp_path)
    assert track(["mlflow"]) == []
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("ste-ray")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "r/train"
    assert run.info.status == "FINISHED"
    assert run.data.params["train.learning_rate"] == "0.001"
    assert run.data.params["train.names.x_y"] == "z"
    assert run.data.tags["ste.stage"] == "train"
    assert run.data.metrics["train/settings/tuned/toolken/correct"] == 0.75
    curve = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(one.step, one.value) for one in curve] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert "mlflow.source.name" not in run.data.tags  # the command


@needs_trackers
def test_mlflow_uses_the_experiment_of_the_environment_and_knows_failures(tmp_path, monkeypatch):
    use_trackers(monkeypatch, tmp_path)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert track(["mlflow"]) == []
    assert track(["mlflow"], complete=False) == []
    from mlflow import MlflowClient

    experiment = MlflowClient().get_experiment_by_name("mine")
    runs = MlflowClient().search_runs([experiment.experiment_id])
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]


@needs_trackers
def test_a_server_that_is_away_is_said_once(tmp_path, monkeypatch):
    use_trackers(monkeypatch, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (line,) = track(["mlflow"])
    assert line.startswith("train: mlflow is told nothing more (")


def test_what_is_not_installed_is_named_with_the_way_to_it(monkeypatch):
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not there
        (line,) = track([name])
        assert f"{name} is not installed: pip install 'ste-ray[{name}]'" in line

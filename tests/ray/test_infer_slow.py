"""Slow, killed and broken local models on a real Ray: what is finished is kept, and said."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from exploring import until
from inferring import Run, copied, predictions, prepared_run

from ste_ray.core import layout
from ste_ray.core.records import Prediction
from ste_ray.errors import DecodingError, TemporaryError
from ste_ray.stages.base import StageContext
from ste_ray.stages.infer import progress as infer_progress
from ste_ray.stages.infer import stage as infer
from ste_ray.stages.retrieve import stage as retrieve
from ste_ray.stages.running import find_own_error
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import read_records

pytestmark = pytest.mark.usefixtures("ray_cluster")

# A model with code of its own: it notes each batch that it begins, and does as its folder says.
CODE = """
import os
import time
from pathlib import Path

from transformers import LlamaForCausalLM


class OddLlama(LlamaForCausalLM):
    def forward(self, input_ids=None, **options):
        folder = Path(self.config.told_by)
        if (folder / "broken").exists():
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if input_ids.shape[1] > 1:
            with (folder / "batches").open("a") as file:
                file.write(f"{os.getpid()} {len(input_ids)}\\n")
            while (folder / "wait").exists() and len(batches(folder)) > 1:
                time.sleep(0.01)
        return super().forward(input_ids=input_ids, **options)


def batches(folder):
    return (folder / "batches").read_text().splitlines()
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return prepared_run(tmp_path_factory.mktemp)


@pytest.fixture
def run(prepared: RunStore, tmp_path: Path) -> Iterator[Run]:
    with copied(prepared, tmp_path / "run") as found:
        yield found


@pytest.fixture
def told(run: Run, tmp_path: Path) -> Path:
    """The folder that says how the model ``odd`` behaves."""
    folder = tmp_path / "told"
    folder.mkdir()
    (folder / "batches").touch()
    model = tmp_path / "odd"
    run.store.download_folder(layout.BASE_MODEL, str(model))
    config = json.loads((model / "config.json").read_text())
    config |= {
        "architectures": ["OddLlama"],
        "auto_map": {"AutoModelForCausalLM": "modeling_odd.OddLlama"},
        "told_by": str(folder),
    }
    (model / "config.json").write_text(json.dumps(config))
    (model / "modeling_odd.py").write_text(CODE)
    return folder


def context_of(run: Run, told: Path, **options: object) -> StageContext:
    section = {
        "settings": ("odd/retrieved",),
        "models": {"odd": str(told.parent / "odd")},
        "num_workers": 1,
        **options,
    }
    return run.configured(infer=section, trust_remote_code=True, flush_seconds=0.001)


def batches(told: Path) -> list[tuple[int, int]]:
    """Process and rows of each batch that was begun."""
    lines = (told / "batches").read_text().splitlines()
    return [(int(line.split()[0]), int(line.split()[1])) for line in lines]


class Stage(threading.Thread):
    """Runs the stage beside the test."""

    def __init__(self, context: StageContext) -> None:
        super().__init__(daemon=True)
        self.context = context
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            infer.run(self.context)
        except Exception as error:
            self.error = error

    def ended(self) -> Exception | None:
        self.join(120)
        assert not self.is_alive()
        return self.error


def kept(run: Run) -> list[Prediction]:
    folder = f"{layout.PREDICTION_PIECES}/odd-retrieved"
    return read_records(run.store, folder, Prediction) if run.store.list(folder) else []


def test_a_killed_worker_costs_only_the_batch_it_was_at(
    run: Run, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infer_progress, "_SECONDS_BETWEEN_LINES", 0.0)
    retrieve.run(run.context)
    (told / "wait").touch()
    stage = Stage(context_of(run, told))  # one part of 32, batches of 4
    until(lambda: len(batches(told)) == 2 and len(kept(run)) == 4)
    # Nothing of the part is finished for Ray Data, and yet it is known how far it is.
    said = "infer: odd/retrieved, 4 of 37 answered, "
    until(lambda: any(line.startswith(said) and "left" in line for line in run.lines))
    assert any(" tokens/s, about 0:" in line for line in run.lines)
    (told / "wait").unlink()
    os.kill(batches(told)[1][0], signal.SIGKILL)
    assert stage.ended() is None
    found = predictions(run.store)
    assert [one.example_id for one in found] == [f"test-{number:03d}" for number in range(37)]
    begun = batches(told)
    assert len({process for process, _ in begun}) == 2
    # The batch in which it was killed, and nothing else, was decoded twice.
    assert sum(rows for _, rows in begun) == 37 + begun[1][1]


def test_a_stage_that_is_ended_keeps_what_is_finished(run: Run, told: Path) -> None:
    retrieve.run(run.context)
    (told / "wait").touch()
    stuck = context_of(run, told, stall_seconds=2.0)
    error = Stage(stuck).ended()  # the second batch gives no token
    own = find_own_error(error) if error else None
    assert isinstance(own, TemporaryError)
    assert "setting 'odd/retrieved': no token for 2 s" in str(own)
    first = kept(run)
    assert len(first) == 4
    assert not run.store.exists(f"{layout.PREDICTIONS}/odd-retrieved/_complete")
    (told / "wait").unlink()
    before = {process for process, _ in batches(told)}
    infer.run(context_of(run, told))
    assert "infer: odd/retrieved, 33 of 37 queries to answer" in run.lines
    assert sum(rows for process, rows in batches(told) if process not in before) == 33
    assert not run.store.list(layout.PREDICTION_PIECES)
    found = predictions(run.store)
    assert len(found) == 37
    assert [one for one in found if one in first] == sorted(first, key=lambda one: one.example_id)


def test_a_broken_device_completes_nothing(run: Run, told: Path) -> None:
    retrieve.run(run.context)
    (told / "broken").touch()
    error = Stage(context_of(run, told)).ended()
    own = find_own_error(error) if error else None
    assert isinstance(own, DecodingError)
    assert "an illegal memory access" in str(own)
    assert kept(run) == []
    assert not run.store.exists(f"{layout.PREDICTIONS}/odd-retrieved/_complete")
    (told / "broken").unlink()
    counts = infer.run(context_of(run, told))
    assert counts["settings"]["odd/retrieved"]["errors"] == 0
    assert Counter(one.error for one in predictions(run.store)) == {"": 37}


def test_long_prompts_are_decoded_in_small_batches(run: Run, told: Path) -> None:
    retrieve.run(run.context)
    infer.run(context_of(run, told, batch_tokens=150))
    assert {rows for _, rows in batches(told)} <= {1, 2}
    found = predictions(run.store)
    assert len(found) == 37
    assert min(one.prompt_tokens for one in found) > 40


def test_ray_data_ends_nothing_for_being_slow() -> None:
    assert ray.data.DataContext.get_current().execution_no_progress_timeout_s == -1

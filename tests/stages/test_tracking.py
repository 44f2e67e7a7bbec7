"""Trackers of a stage: what they are told, and that none of them can harm it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ste_ray.config import Config, load_config
from ste_ray.core.records import canonical_json
from ste_ray.core.texts.masking import Masker
from ste_ray.errors import StageInputError
from ste_ray.stages.base import StageContext
from ste_ray.stages.explore.messages import Status
from ste_ray.stages.running import run_stage
from ste_ray.stages.tracking import opening
from ste_ray.stages.tracking.figures import explore_figures, flat_figures, step_figures
from ste_ray.stages.tracking.opening import without_secrets
from ste_ray.stages.tracking.tracker import NotUsableError, TrackedStage
from ste_ray.stages.tracking.tracking import Tracking
from ste_ray.stages.train.progress import Figures
from ste_ray.store.artifacts import open_store
from ste_ray.training.figures import StepRecord

STAGE = TrackedStage(run="r", stage="train", config={"seed": 1}, code_version="1")


def step_record(step: int) -> StepRecord:
    return StepRecord(
        step=step, num_steps=9, loss=0.5, learning_rate=0.1, grad_norm=1.0, label_tokens=10,
        useful_tokens=20, padded_share=0.0, seconds=1.0, useful_tokens_per_second=20.0,
        tokens_per_second=20.0, memory_bytes=5, workers=1,
    )  # fmt: skip


class Fake:
    """Notes what it is told; ``failing`` names a method that raises."""

    def __init__(self, failing: str = "", error: BaseException | None = None) -> None:
        self.told: list[Any] = []
        self._failing = failing
        self._error = error or RuntimeError("the server is away")

    def _note(self, method: str, *values: Any) -> None:
        if method == self._failing:
            raise self._error
        self.told.append((method, *values))

    def begin(self, stage: TrackedStage) -> None:
        self._note("begin", stage)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._note("log", dict(figures), step)

    def end(self, figures: Mapping[str, float], complete: bool) -> None:
        self._note("end", dict(figures), complete)


def test_each_tracker_is_told_everything_in_order() -> None:
    one, two, said = Fake(), Fake(), list[str]()
    tracking = Tracking(STAGE, {"one": one, "two": two}, said.append)
    assert tracking
    tracking.log({"a": 1.0}, 1)
    tracking.log({"a": 2.0}, 2)
    tracking.end({"b": 3.0}, complete=True)
    assert one.told == two.told == [
        ("begin", STAGE),
        ("log", {"a": 1.0}, 1),
        ("log", {"a": 2.0}, 2),
        ("end", {"b": 3.0}, True),
    ]  # fmt: skip
    assert said == []


@pytest.mark.parametrize(
    ("method", "error", "why"),
    [
        ("begin", ConnectionError("no route"), "ConnectionError: no route"),
        ("log", RuntimeError("two\nlines"), "RuntimeError: two lines"),
        ("end", SystemExit(1), "SystemExit: 1"),
        ("begin", NotUsableError("there is no key"), "(there is no key)"),
    ],
)
def test_a_tracker_that_fails_is_said_once_and_the_others_go_on(
    method: str, error: BaseException, why: str
) -> None:
    good, bad, said = Fake(), Fake(method, error), list[str]()
    tracking = Tracking(STAGE, {"bad": bad, "good": good}, said.append)
    for step in range(20):
        tracking.log({"a": 1.0}, step)
        time.sleep(0.001)
    tracking.end({}, complete=True)
    assert [one[0] for one in good.told] == ["begin", *["log"] * 20, "end"]
    assert len(said) == 1
    assert said[0].startswith("train: bad is told nothing more (")
    assert why in said[0]


def test_a_tracker_that_hangs_is_not_waited_for() -> None:
    released = threading.Event()

    class Hung(Fake):
        def log(self, figures: Mapping[str, float], step: int) -> None:
            released.wait()

    said: list[str] = []
    tracking = Tracking(STAGE, {"hung": Hung()}, said.append, end_seconds=0.2)
    begun = time.monotonic()
    for step in range(10_500):  # more than it may have waiting
        tracking.log({"a": 1.0}, step)
    tracking.end({}, complete=True)
    assert time.monotonic() - begun < 30
    released.set()
    assert len(said) == 1
    assert "has not" in said[0]


class Stuck(Fake):
    """Hangs in its first action until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.released = threading.Event(), threading.Event()

    def begin(self, stage: TrackedStage) -> None:
        self.begun.set()
        self.released.wait()


def test_the_end_of_a_stage_waits_once_for_all_that_hang_however_much_they_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ste_ray.stages.tracking.tracking._MAX_WAITING", 10)
    stuck = {name: Stuck() for name in "abcd"}
    good, said = Fake(), list[str]()
    tracking = Tracking(STAGE, {**stuck, "good": good}, said.append, end_seconds=0.5)
    assert all(one.begun.wait(10) for one in stuck.values())
    for step in range(9):  # the end makes it exactly as many as may wait
        while step and len(good.told) <= step:
            time.sleep(0.001)
        tracking.log({"a": 1.0}, step)
    ended = threading.Thread(target=tracking.end, args=({}, True), daemon=True)
    begun = time.monotonic()
    ended.start()
    ended.join(20)
    hung = ended.is_alive()
    for one in stuck.values():
        one.released.set()
    assert not hung
    assert time.monotonic() - begun < 1.5
    assert [one[0] for one in good.told] == ["begin", *["log"] * 9, "end"]
    assert [line.split()[1] for line in said] == ["a", "b", "c", "d"]
    assert all("within 0.5 s" in line for line in said)


def test_nothing_is_tracked_unless_it_is_wanted() -> None:
    assert not Tracking()
    Tracking().log({"a": 1.0}, 1)
    Tracking().end({}, complete=False)
    assert Config().track == ()
    assert load_config(None, ["track=[wandb,otel]"]).track == ("wandb", "otel")


def test_what_is_tracked_changes_no_result() -> None:
    tracked = load_config(None, ["track=[wandb,mlflow,otel]"])
    for stage in ("explore", "train", "evaluate"):
        assert tracked.stage_fingerprint(stage) == Config().stage_fingerprint(stage)


class Watched:
    """A run whose stage is tracked by a fake."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, tracker: Fake) -> None:
        monkeypatch.setitem(opening._TRACKERS, "mlflow", lambda: tracker)
        self.said: list[str] = []
        config = load_config(None, ["track=[mlflow]", "llm.base_url=http://me:pw@host/v1"])
        store = open_store(str(folder / "my-run"))
        self.context = StageContext(config, store, self.said.append)


def test_a_stage_tells_its_configuration_and_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-8f3Kd02mFk3q9")
    tracker = Fake()
    run = Watched(tmp_path, monkeypatch, tracker)

    def body(context: StageContext) -> dict[str, Any]:
        context.tracking.log({"explore/tools_done": 1.0}, 0)
        return {"tools": 3, "models": ["m"], "calls_by_status": {"ok": 5}, "done": True}

    run_stage("explore", run.context, body)
    begun, logged, ended = tracker.told
    assert begun[1].title == "my-run/explore"
    assert begun[1].config["explore"]["trials_per_episode"]
    assert logged == ("log", {"explore/tools_done": 1.0}, 0)
    assert ended == ("end", {"explore/tools": 3, "explore/calls_by_status/ok": 5}, True)
    written = canonical_json(begun[1].config)
    assert "sk-8f3Kd02mFk3q9" not in written
    assert "me:pw" not in written


def test_a_stage_that_fails_ends_its_tracker_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Fake()
    run = Watched(tmp_path, monkeypatch, tracker)

    def body(_: StageContext) -> dict[str, Any]:
        raise StageInputError("there is nothing")

    with pytest.raises(StageInputError, match="there is nothing"):
        run_stage("explore", run.context, body)
    assert tracker.told[-1] == ("end", {}, False)


def test_a_failing_tracker_leaves_the_stage_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Watched(
        tmp_path, monkeypatch, Fake("begin", RuntimeError("key sk-8f3Kd02mFk3q9 refused"))
    )
    monkeypatch.setenv("OPENAI_API_KEY", "sk-8f3Kd02mFk3q9")
    manifest = run_stage("explore", run.context, lambda _: {"tools": 1})
    assert manifest.counts == {"tools": 1}
    (line,) = (line for line in run.said if "mlflow" in line)
    assert "sk-8f3Kd02mFk3q9" not in line
    assert "refused" in line


def test_secrets_and_credentials_are_in_nothing_that_is_sent() -> None:
    masker = Masker({"hunter2222": "[secret X]"})
    given = {
        "a": ["hunter2222", 1, None],
        "b": {"url": "https://me:p@w@host:8/v1?sig=abc", "run": "s3://key:se/cret@bucket/r"},
        "c": True,
    }
    assert without_secrets(given, masker) == {
        "a": ["[secret X]", 1, None],
        "b": {"url": "https://host:8/v1", "run": "s3://bucket/r"},
        "c": True,
    }


def test_a_rank_tells_the_driver_of_many_steps_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[int]] = []

    class Driver:
        def figures(self, records: list[StepRecord]) -> None:
            told.append([record.step for record in records])

    now = 0.0
    monkeypatch.setattr("ste_ray.stages.train.progress.time.monotonic", lambda: now)
    figures = Figures(Driver())  # type: ignore[arg-type]
    for step in range(1, 8):
        now += 0.5
        figures(step_record(step))
    figures.tell()
    figures.tell()
    assert told == [[1, 2, 3, 4], [5, 6, 7]]


def test_figures_are_the_numbers_there_are() -> None:
    values = {
        "a": 1,
        "b": {"c": 2.5, "d": "text", "e": None},
        "f": True,
        "g": [1],
        "h": float("nan"),
    }
    assert flat_figures("x", values) == {"x/a": 1, "x/b/c": 2.5}


def test_figures_of_an_exploration_and_of_a_step() -> None:
    counts = Counter({"model": 7, "usd": 0.5, "fault timeout": 2, "tool_not_made": 1})
    status = Status(4, 1, {}, 2, 8, 3, counts, explorers=2, episodes_ended=4)
    assert explore_figures(status, 12.34) == {
        "explore/tools_done": 1,
        "explore/tools_active": 2,
        "explore/explorers": 2,
        "explore/episodes_ended": 4,
        "explore/episodes_stored": 3,
        "explore/model_replies": 7,
        "explore/usd": 0.5,
        "explore/faults/timeout": 2,
        "explore/tool_calls_not_made": 1,
        "explore/seconds": 12.3,
    }
    found = step_figures(step_record(3).to_json())
    assert found["train/loss"] == 0.5
    assert {"train/step", "train/num_steps", "train/mfu", "train/validation_loss"}.isdisjoint(found)

"""Metrics of an exploration: what is set and counted, and what a node's metrics port says of it."""

from __future__ import annotations

import pickle
import re
import time
import urllib.request
from collections import Counter, defaultdict
from typing import Any

import pytest
import ray

from ste_ray.stages.explore.messages import Status
from ste_ray.stages.explore.metrics import ExploreMetrics

RUN = "s3://bucket/run"
# Ray's nodes export every 10 s; a busy machine may take longer.
_EXPORTED_WITHIN_SECONDS = 60.0
_SAMPLE = re.compile(r"ray_(\w+)\{(.*)\} (\S+)")


def status(counts: dict[str, float] | None = None, **fields: Any) -> Status:
    known = {"tools": 3, "tools_done": 1, "tools_active": 2, "episodes": 12, "episodes_stored": 5}
    return Status(tools_stopped={}, counts=Counter(counts or {}), **{**known, **fields})


class Recorder:
    """Stands for one class of ``ray.util.metrics``: notes values as Prometheus would hold them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.values: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
        self.increments: list[float] = []

    def __call__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> Metric:
        assert description.endswith(".")
        self.names.append(name)
        return Metric(self, name, tag_keys)


class Metric:
    def __init__(self, recorder: Recorder, name: str, tag_keys: tuple[str, ...]) -> None:
        self._recorder = recorder
        self._tag_keys = tag_keys
        self._values = recorder.values[name]

    def inc(self, value: float, tags: dict[str, str]) -> None:
        self._recorder.increments.append(value)
        tag = self._tag(tags)
        self._values[tag] = self._values.get(tag, 0) + value

    def set(self, value: float, tags: dict[str, str]) -> None:
        self._values[self._tag(tags)] = value

    def _tag(self, tags: dict[str, str]) -> tuple[str, ...]:
        # As Ray does: all tags must be declared and given.
        assert set(tags) == set(self._tag_keys)
        return tuple(tags[key] for key in self._tag_keys)


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr("ray.util.metrics.Counter", recorder)
    return recorder


@pytest.fixture
def gauges(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr("ray.util.metrics.Gauge", recorder)
    return recorder


def test_gauges_are_set_to_what_is_true_now(counters, gauges):
    metrics = ExploreMetrics(RUN)
    metrics(status(tools_active=2, episodes_stored=5))
    metrics(status(tools_active=1, episodes_stored=9, tools_done=2))
    assert dict(gauges.values) == {
        "ste_tools": {(RUN,): 3},
        "ste_tools_done": {(RUN,): 2},
        "ste_tools_active": {(RUN,): 1},
        "ste_episodes": {(RUN,): 12},
        "ste_episodes_stored": {(RUN,): 9},
    }


def test_a_run_with_any_name_has_tags_of_ascii(counters, gauges):
    ExploreMetrics("/data/Prüfung 50% #1?x+y")(status())
    ((tag,),) = gauges.values["ste_tools"]
    assert tag == "/data/Pr%C3%BCfung 50% #1?x+y"


def test_counters_hold_the_sums_however_often_they_are_told(counters, gauges):
    metrics = ExploreMetrics(RUN)
    for replies, usd in ((3, 0.25), (3, 0.25), (10, 0.25), (11, 1.5)):
        metrics(
            status(
                {
                    "model": replies,
                    "tool": 2,
                    "tool_failures": 1,
                    "replayed": 4,
                    "prompt_tokens": 1000,
                    "completion_tokens": 100,
                    "usd": usd,
                }
            )
        )
    assert {name: values[(RUN,)] for name, values in counters.values.items() if values} == {
        "ste_model_replies": 11,
        "ste_tool_calls": 2,
        "ste_tool_failures": 1,
        "ste_answers_replayed": 4,
        "ste_prompt_tokens": 1000,
        "ste_completion_tokens": 100,
        "ste_cost_usd": 1.5,
    }


def test_a_counter_never_falls_and_counts_nothing_twice(counters, gauges):
    metrics = ExploreMetrics(RUN)
    for replies in (5, 3, 5, 7):
        metrics(status({"model": replies}))
    metrics(status())  # a Counter drops what is zero
    metrics(status({"model": 8}))
    assert counters.values["ste_model_replies"] == {(RUN,): 8}
    assert all(value > 0 for value in counters.increments)


def test_faults_are_counted_by_kind(counters, gauges):
    metrics = ExploreMetrics(RUN)
    metrics(status({"fault timeout": 2, "fault rate_limited": 1}))
    metrics(status({"fault timeout": 3, "fault rate_limited": 1, "fault bad_reply": 1}))
    assert counters.values["ste_model_faults"] == {
        (RUN, "timeout"): 3,
        (RUN, "rate_limited"): 1,
        (RUN, "bad_reply"): 1,
    }


def test_other_events_are_left_out(counters, gauges):
    ExploreMetrics(RUN)(status({"episode": 4, "endpoint_paused": 1, "tools": 9}))
    assert not any(counters.values.values())
    assert gauges.values["ste_tools"] == {(RUN,): 3}


def test_metrics_are_made_at_the_first_use_and_once(counters, gauges):
    metrics = ExploreMetrics(RUN)
    assert counters.names == gauges.names == []
    metrics(status({"model": 1}))
    metrics(status({"model": 2}))
    made = counters.names + gauges.names
    assert len(made) == len(set(made)) == 14


def test_runs_are_told_apart(counters, gauges):
    metrics = ExploreMetrics("one"), ExploreMetrics("two")
    metrics[0](status({"model": 1}))
    metrics[1](status({"model": 5}))
    assert counters.values["ste_model_replies"] == {("one",): 1, ("two",): 5}


def test_survives_pickling_before_its_first_use(counters, gauges):
    copy = pickle.loads(pickle.dumps(ExploreMetrics(RUN)))
    copy(status({"model": 2}))
    assert counters.values["ste_model_replies"] == {(RUN,): 2}


def exported(run: str) -> dict[str, float]:
    """What the node's metrics port says of a run: name and kind of fault -> value."""
    node = ray.nodes()[0]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=30) as response:
        samples = _SAMPLE.findall(response.read().decode())
    found = {}
    for name, labels, value in samples:
        tags = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if tags.get("run") == run:
            found[" ".join([name, *([tags["kind"]] if "kind" in tags else [])])] = float(value)
    return found


def test_the_metrics_port_of_the_node_shows_them(ray_cluster):
    class Holder:  # like the coordinator: a process of its own that is sent the metrics
        def __init__(self, metrics: ExploreMetrics) -> None:
            self._metrics = metrics

        def show(self, *statuses: Status) -> None:
            for one in statuses:
                self._metrics(one)

    run = "/runs/one"
    holder = ray.remote(Holder).options(num_cpus=0).remote(ExploreMetrics(run))
    try:
        first = status({"model": 7, "usd": 0.5, "fault timeout": 2}, episodes_stored=5)
        fewer = status({"model": 6, "usd": 0.5}, episodes_stored=5)
        last = status({"model": 9, "usd": 0.75, "fault timeout": 2}, episodes_stored=8)
        ray.get(holder.show.remote(first, fewer, last))
        wanted = {
            "ste_model_replies_total": 9,
            "ste_cost_usd_total": 0.75,
            "ste_model_faults_total timeout": 2,
            "ste_tools": 3,
            "ste_tools_done": 1,
            "ste_tools_active": 2,
            "ste_episodes": 12,
            "ste_episodes_stored": 8,
        }
        deadline = time.monotonic() + _EXPORTED_WITHIN_SECONDS
        while exported(run) != wanted and time.monotonic() < deadline:
            time.sleep(0.3)
        assert exported(run) == wanted
    finally:
        ray.kill(holder)


def test_steps_of_a_training_are_gauges(gauges):
    from ste_ray.stages.train.progress import TrainMetrics
    from tests.training.test_figures import record

    metrics = TrainMetrics(RUN)
    metrics(record(step=4, loss=2.0, validation_loss=1.5))
    metrics(record(step=5, loss=1.25, mfu=0.4))
    assert {name: values[(RUN,)] for name, values in gauges.values.items()} == {
        "ste_train_step": 5,
        "ste_train_steps": 10,
        "ste_train_loss": 1.25,
        "ste_train_validation_loss": 1.5,
        "ste_train_learning_rate": 0.1,
        "ste_train_grad_norm": 0.5,
        "ste_train_useful_tokens_per_second": 1234.0,
        "ste_train_tokens_per_second": 1371.0,
        "ste_train_memory_bytes": 3 * 2**30,
        "ste_train_mfu": 0.4,
    }

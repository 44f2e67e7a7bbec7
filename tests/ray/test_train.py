"""The train stage on a local Ray with two workers."""

import math
from types import SimpleNamespace

import pytest
import ray
import torch
from ray.train.v2._internal.execution.failure_handling import (
    DefaultFailurePolicy,
    FailureDecision,
)
from ray.train.v2.api.exceptions import PreemptionError, WorkerGroupError
from ray.train.v2.api.preemption import PreemptionInfo
from transformers import AutoModelForCausalLM, AutoTokenizer

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.toolkens import toolken
from ste_ray.errors import ConfigError, StageInputError, TrainingError
from ste_ray.stages.train import progress
from ste_ray.stages.train import stage as train
from ste_ray.stages.train.worker import packed_job, train_worker
from ste_ray.store.artifacts import open_store
from ste_ray.training import rank
from ste_ray.training.export import save_model
from ste_ray.training.model import build_model
from tests.training.conftest import MODEL_CONFIG, TOOLS, make_row, row_texts, small_tokenizer
from tests.training.training_runs import prepared, some_rows

# As few steps as show what happens.
FEW = {"max_steps": 8, "examples_per_step": 10}


def with_a_long_row():
    long = make_row(48)
    return [*some_rows(), long.model_copy(update={"response": long.response * 40})]


def test_a_run_is_trained_exported_and_counted(ray_cluster, tmp_path):
    context, said = prepared(tmp_path, with_a_long_row(), **FEW)
    counts = train.run(context)
    assert (counts["rows"], counts["validation_rows"], counts["skipped_too_long"]) == (40, 8, 1)
    assert (counts["num_steps"], counts["num_examples"], counts["tools"]) == (8, 80, 3)
    assert "'row048'" in context.notes[0]

    metrics = context.store.read_json(layout.TRAIN_METRICS)
    assert [record["step"] for record in metrics] == list(range(1, 9))
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    assert counts["validation_loss"] == metrics[-1]["validation_loss"]
    assert [line.split()[2] for line in said if "step" in line] == ["1/8", "8/8"]

    base = AutoModelForCausalLM.from_pretrained(tmp_path / layout.BASE_MODEL)
    tuned = AutoModelForCausalLM.from_pretrained(tmp_path / layout.TUNED_MODEL)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / layout.TUNED_MODEL)
    assert base.config.vocab_size == tuned.config.vocab_size - 3 == len(tokenizer) - 3
    rows = base.get_input_embeddings().weight
    assert not torch.equal(tuned.get_input_embeddings().weight[: len(rows)], rows)
    assert counts["parameters"] == sum(weight.numel() for weight in tuned.parameters())
    assert context.store.read_json(layout.TRAINED_TOOLKENS) == [
        {
            "tool": name,
            "toolken": toolken(name),
            "id": tokenizer.convert_tokens_to_ids(toolken(name)),
        }
        for name in TOOLS
    ]


def test_an_error_in_a_worker_is_one_line(ray_cluster, tmp_path):
    tokenizer = small_tokenizer(row_texts([make_row(number) for number in range(60)]))
    base = tmp_path / "base"
    save_model(build_model(MODEL_CONFIG, tokenizer, seed=0), tokenizer, base)
    context, _ = prepared(tmp_path, learning_rate=1e30, model={"base": str(base)})
    with pytest.raises(TrainingError, match=r"lower train\.learning_rate") as caught:
        train.run(context)
    assert "\n" not in str(caught.value)
    saved = AutoTokenizer.from_pretrained(tmp_path / layout.BASE_MODEL)
    assert saved.get_vocab() == tokenizer.get_vocab()


def test_rows_that_are_all_too_long_are_refused_before_workers_start(ray_cluster, tmp_path):
    context, _ = prepared(tmp_path, with_a_long_row(), max_tokens=16)
    with pytest.raises(StageInputError, match=r"max_tokens=16 .*49 are longer"):
        train.run(context)


def test_a_missing_base_is_refused_before_workers_start(ray_cluster, tmp_path):
    context, _ = prepared(tmp_path, model={"base": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match=r"train\.model\.base"):
        train.run(context)


@pytest.mark.parametrize(("cpus", "each"), [(8.0, 1.0), (2.0, 1.0), (1.0, 0.5), (math.inf, 1.0)])
def test_workers_share_cpus_only_where_no_more_can_come(monkeypatch, cpus, each):
    monkeypatch.setattr(train, "_cpus", lambda: cpus)
    scaling = train._scaling(Config.model_validate({"train": {"num_workers": 2}}).train)
    assert scaling.resources_per_worker == {"CPU": each}


@pytest.mark.parametrize(
    ("section", "cpus", "asked"),
    [
        ({"num_workers": 1, "threads_per_worker": 2}, 8.0, 2.0),
        ({"num_workers": 2, "threads_per_worker": 4}, 6.0, 3.0),
        ({"num_workers": 2, "threads_per_worker": 4, "min_workers": 1}, 2.0, 4.0),
    ],
)
def test_a_worker_with_threads_takes_their_cpus_on_one_node(monkeypatch, section, cpus, asked):
    monkeypatch.setattr(train, "_cpus", lambda: cpus)
    config = Config.model_validate({"train": section}).train
    assert train._scaling(config).resources_per_worker == {"CPU": asked}
    need = train._need(config)
    assert need.cpus == asked
    assert f"train.threads_per_worker={section['threads_per_worker']}" in need.setting
    assert need.remedy.startswith("lower train.threads_per_worker")


def test_a_worker_computes_with_its_threads(monkeypatch):
    used = []
    monkeypatch.setattr(rank, "train_rank", lambda *_: used.append(torch.get_num_threads()))
    monkeypatch.setattr(progress, "ray_hooks", lambda *_: None)
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            config = Config.model_validate({"train": {"threads_per_worker": threads}}).train
            train_worker(packed_job(SimpleNamespace(config=config), None))
    finally:
        torch.set_num_threads(before)
    assert used == [2, 1]


def test_a_node_that_is_taken_away_ends_the_fit_so_that_it_is_noted_and_counted(
    tmp_path, monkeypatch
):
    started = {}
    monkeypatch.setattr(train, "TorchTrainer", lambda *_, **options: started.update(options))
    monkeypatch.setattr(train, "packed_job", lambda *_: {})
    monkeypatch.setattr(train, "_cpus", lambda: 2.0)
    job = SimpleNamespace(config=Config().train, files=open_store(str(tmp_path)))
    train._trainer(job, None)
    policy = DefaultFailurePolicy(started["run_config"].failure_config)
    taken = PreemptionInfo(deadline_ms=None, preempted_node_to_ranks={"node": [1]})
    assert policy.make_decision(PreemptionError(taken)) is FailureDecision.RAISE
    assert policy.make_decision(WorkerGroupError("lost", {1: OSError()})) is FailureDecision.RAISE


def test_a_cluster_without_cpus_yet_is_asked_for_some(ray_cluster, monkeypatch):
    assert train._cpus() >= 4
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"memory": 1.0})
    assert train._cpus() == math.inf

"""The train stage on Ray Train: fine-tune a base model, with one toolken a tool, under FSDP2.

Input: ``prepare/rows`` and ``prepare/tools.json``. Output: ``train/base`` (the model before,
without toolkens) and ``train/model`` (after), both Hugging Face folders; ``train/toolkens.json``,
``train/metrics.json`` (one record a step), ``train/tensorboard``, and on the way ``train/shards``
with ``train/plan.json`` and ``train/checkpoints``. A stage that was cut off, or lost a worker, goes
on from the last checkpoint.
"""

from __future__ import annotations

import math
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from ste_ray.core import layout
from ste_ray.errors import SteRayError, TemporaryError, TrainingError
from ste_ray.stages.base import StageContext
from ste_ray.stages.cluster.nodes import Need, require_place
from ste_ray.stages.cluster.ray_internals import promised_resources
from ste_ray.stages.running import find_own_error
from ste_ray.stages.train.inputs import lay_out, stage_counts
from ste_ray.stages.train.progress import DriverChannel, driver_channel
from ste_ray.stages.train.shards import write_shards
from ste_ray.stages.train.worker import packed_job, train_worker
from ste_ray.training.checkpoints import KEPT_CHECKPOINTS, latest_checkpoint
from ste_ray.training.config import TrainConfig
from ste_ray.training.job import TrainJob

# Restarts in a row without a new checkpoint: what fails three times at one place fails again.
_MAX_FAILURES = 3
_STOP_SECONDS = 90.0  # for the step that is going on and its checkpoint


def run(context: StageContext) -> dict[str, Any]:
    """Train and export; see the module's docstring.

    Raises:
        ConfigError: the base model cannot be used, rows may be longer than its positions, or the
            cluster has no room for the workers.
        StageInputError: there is no row to train on.
        TrainingError: training cannot go on.
        TemporaryError: workers were lost again and again.
    """
    if not context.store.exists(layout.TRAIN_SUMMARY):
        require_place(_need(context.config.train))
    job = lay_out(context, write_shards)
    if not context.store.exists(layout.TRAIN_SUMMARY):
        with driver_channel(context) as driver:
            _fit_until_done(context, job, driver)
        context.store.delete_folder(layout.RAY_TRAIN)
    summary = context.store.read_json(layout.TRAIN_SUMMARY)
    return stage_counts(job, summary)


def _fit_until_done(context: StageContext, job: TrainJob, driver: DriverChannel) -> None:
    """Start Ray Train again after each failure that may pass, from the last checkpoint."""
    failures, reached = 0, -1
    while True:
        try:
            _fit(context, job, driver)
            return
        except (TrainingFailedError, RayError) as error:
            own = _permanent(error)
            if own is not None:
                raise own from error
            step = _last_step(job)
            failures = failures + 1 if step <= reached else 1
            reached = max(reached, step)
            reason = _one_line(error)
            if failures > _MAX_FAILURES:
                raise TemporaryError(
                    f"training failed {failures} times without a new checkpoint: {reason}; run the"
                    f" stage again to go on from step {step}"
                ) from error
            note = f"training failed ({reason}) and went on from step {step}"
            context.notes.append(note)
            context.progress(f"train: {note}")


def _fit(context: StageContext, job: TrainJob, driver: DriverChannel) -> None:
    """Run Ray Train once; what ends this process in order ends it after a checkpoint."""
    trainer, ended = _trainer(job, driver), Future[None]()

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            ended.set_exception(error)
        else:
            ended.set_result(None)

    # In a thread of its own, so that a signal is raised here while the workers go on.
    Thread(target=fit, daemon=True).start()
    try:
        ended.result()
    except BaseException:
        if not ended.done():
            context.progress("train: stopping after this step; a checkpoint is written first")
            driver.ask_to_stop()
            with suppress(TimeoutError):
                ended.exception(timeout=_STOP_SECONDS)
        raise


def _trainer(job: TrainJob, driver: DriverChannel) -> TorchTrainer:
    config, files = job.config, job.files
    # Its notes of an earlier start name checkpoints that may be gone; ours tell where to go on.
    files.delete_folder(layout.RAY_TRAIN)
    return TorchTrainer(
        train_worker,
        train_loop_config=packed_job(job, driver),
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if config.use_gpu else "gloo"),
        scaling_config=_scaling(config),
        run_config=RunConfig(
            name="start",
            storage_path=files.path(layout.RAY_TRAIN),
            storage_filesystem=files.filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=KEPT_CHECKPOINTS),
            # Nodes that are taken away count as any failure: noted, and gone on from here.
            failure_config=FailureConfig(max_failures=0, max_preemption_failures=0),
        ),
    )


def _scaling(config: TrainConfig) -> ScalingConfig:
    elastic = 0 < config.min_workers < config.num_workers
    resources = {"CPU": _cpus_of_worker(config, elastic)}
    if config.use_gpu:
        resources["GPU"] = 1.0
    return ScalingConfig(
        num_workers=(config.min_workers, config.num_workers) if elastic else config.num_workers,
        use_gpu=config.use_gpu,
        resources_per_worker=resources,
    )


def _cpus_of_worker(config: TrainConfig, elastic: bool) -> float:
    wanted = float(config.threads_per_worker)
    # On a cluster with too few CPUs workers share them, rather than wait for ever.
    return wanted if elastic else min(wanted, _cpus() / config.num_workers)


def _need(config: TrainConfig) -> Need:
    elastic = 0 < config.min_workers < config.num_workers
    workers = config.min_workers if elastic else config.num_workers
    settings = f"train.num_workers={workers}"
    if elastic:
        settings = f"train.min_workers={workers}"
    remedy = f"lower {settings.partition('=')[0]}, or give the cluster larger nodes"
    cpus = 1.0 if elastic else 0.0  # what is not elastic shares the CPUs that are there
    if config.threads_per_worker > 1:
        # The CPUs of one worker must be those of one node.
        cpus = _cpus_of_worker(config, elastic)
        settings += f" and train.threads_per_worker={config.threads_per_worker}"
        remedy = f"lower train.threads_per_worker, {remedy}"
    if config.use_gpu:
        settings = f"train.use_gpu=true with {settings}"
        remedy = f"set train.use_gpu=false, {remedy}"
    return Need(settings, workers, cpus, float(config.use_gpu), remedy)


def _cpus() -> float:
    """Return the CPUs of the cluster, with those that an autoscaler may add."""
    cpus = float(max(ray.cluster_resources().get("CPU", 0.0), promised_resources().get("CPU", 0)))
    # Where there are none yet, somebody must be waiting to be asked for some.
    return cpus or math.inf


def _last_step(job: TrainJob) -> int:
    checkpoint = latest_checkpoint(job.files, job.fingerprint)
    return 0 if checkpoint is None else checkpoint.step


def _permanent(error: Exception) -> SteRayError | None:
    """Return the error that trying again will not mend, if it is one."""
    own = find_own_error(error)
    if own is not None:
        return None if isinstance(own, TemporaryError) else own
    if any(isinstance(failure, OutOfMemoryError) for failure in _failures(error)):
        return TrainingError(
            f"a training worker was ended because its node ran out of memory ({_one_line(error)});"
            " lower train.batch_tokens, set train.activation_checkpointing=true, spread"
            " train.num_workers over more nodes, or set train.mode=lora"
        )
    return None


def _failures(error: Exception) -> list[BaseException]:
    failures = list(getattr(error, "worker_failures", {}).values())
    return [*failures, *(one.__cause__ for one in failures if one.__cause__)] or [error]


def _one_line(error: Exception) -> str:
    failures = getattr(error, "worker_failures", None) or {0: error}
    worker, failure = min(failures.items())
    lines = str(failure).strip().splitlines() or [type(failure).__name__]
    return f"worker {worker}: {lines[-1].strip()}"

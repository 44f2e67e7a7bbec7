"""Runs one stage of a run: once, under the lock, with a manifest at its end."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ste_ray import __version__
from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.records import fingerprint
from ste_ray.core.texts.masking import Masker
from ste_ray.errors import (
    DecodingError,
    EndpointRefusalError,
    EndpointUnreachableError,
    SteRayError,
    UserError,
)
from ste_ray.process.environment import environment_masker
from ste_ray.runtime.segments import is_seal
from ste_ray.stages.base import StageBody, StageContext
from ste_ray.stages.inputs import check_format, input_fingerprints
from ste_ray.stages.tracking.figures import flat_figures
from ste_ray.stages.tracking.opening import open_tracking
from ste_ray.store.artifacts import RunStore
from ste_ray.store.lock import RunLock
from ste_ray.store.manifest import (
    StageManifest,
    begin_stage,
    clear_failure,
    read_failure,
    read_manifest,
    read_models,
    stage_state,
    write_failure,
    write_manifest,
)

REPORTED = ("evaluate", "continual")  # after which the report is written


def run_stage(stage: str, context: StageContext, body: StageBody) -> StageManifest:
    """Run ``body`` under the run's lock, and write the stage's manifest last but for the report.

    A stage whose manifest matches is not run again; one that was cut off goes on.

    Raises:
        StageInputError: an earlier stage is not complete.
        RunConflictError: the run holds artifacts of another configuration.
        RunLockedError: another process owns the run.
        SteRayError: what the same configuration failed with before, unless it is tried again.
    """
    store, config = context.store, context.config
    with RunLock(store, stage, say=context.progress) as lock:
        context.epoch, context.check_owner = lock.epoch, lock.check
        inputs = input_fingerprints(stage, context)
        fields, print_of = config.stage_fields(stage), config.stage_fingerprint(stage)
        state = begin_stage(store, stage, fields, print_of, inputs)
        if state == "complete":
            manifest = read_manifest(store, stage)
            assert manifest is not None
            context.progress(f"{stage}: already complete in {store.uri}, nothing to do")
            if not store.exists(layout.REPORT):
                _write_report(stage, context)
            return manifest
        if state == "resume":
            context.progress(f"{stage}: going on with what an earlier run left in {store.uri}")
        attempt = _attempt(config, inputs)
        _raise_known_failure(stage, context, attempt)
        clear_failure(store, stage)
        started, begun = time.time(), time.monotonic()
        counts = _tracked_body(stage, context, body, attempt)
        lock.check()
        masker = _masker(context)
        manifest = StageManifest(
            stage=stage,
            config=fields,
            config_fingerprint=print_of,
            inputs=inputs,
            code_version=__version__,
            started_at=started,
            seconds=round(time.monotonic() - begun, 3),
            counts=counts,
            notes=tuple(masker.mask(note) for note in context.notes),
            stopped_by=masker.mask(context.stopped_by),
            seed=config.seed,
            models=read_models(store, stage) | context.models,
        )
        if stage in REPORTED:
            _withdraw_report(store)
        write_manifest(store, manifest)
        _write_report(stage, context)
        return manifest


def _withdraw_report(store: RunStore) -> None:
    """Delete the report of earlier stages: it must not be taken for one that holds this stage too.

    Whatever comes in between, one that is missing is written when the stage is asked for again.
    """
    with suppress(SteRayError, OSError):  # where it cannot be, writing the new one says so
        store.delete(layout.REPORT)


def _write_report(stage: str, context: StageContext) -> None:
    """Write the report after a stage that ends in one; the stage is complete whatever comes of it.

    It can be written again at any time, so that no reason is worth losing what was made.
    """
    if stage not in REPORTED:
        return
    from ste_ray.stages.report.writing import write_report  # templates, which few stages need

    try:
        address = write_report(context.store)
    except Exception as error:
        reason = _masker(context).mask(" ".join(f"{type(error).__name__}: {error}".split()))
        context.progress(
            f"{stage}: complete, but the report could not be written ({reason}); once that is "
            f"mended, run 'ste-ray report --run {shlex.quote(context.store.uri)}'"
        )
    else:
        context.progress(f"{stage}: the report is {address}")


def check_stages(stages: Sequence[str], context: StageContext) -> None:
    """Refuse what the run cannot be used for, as far as that is known before any stage is run.

    It takes no lock and writes nothing: ``run_stage`` finds the same, but only once Ray has
    started, which takes long, and fails on a busy machine.

    Raises:
        ConfigError: a setting needs toolkens that are not trained.
        StageInputError: an earlier stage is not complete.
        RunConflictError: the run holds artifacts of another configuration.
    """
    check_format(stages, context.config)
    for stage in stages:
        inputs = input_fingerprints(stage, context)
        config = context.config
        fields, print_of = config.stage_fields(stage), config.stage_fingerprint(stage)
        if stage_state(context.store, stage, fields, print_of, inputs) != "complete":
            return  # what comes after it depends on what it makes


def _attempt(config: Config, inputs: dict[str, str]) -> str:
    """Identity of all that decides whether a stage fails; another key is another attempt."""
    names = {"STE_LLM_BASE_URL", "STE_LLM_MODEL", *config.llm.key_variables}
    environment = {name: os.environ.get(name, "") for name in sorted(names)}
    return fingerprint(config.model_dump(mode="json"), inputs, __version__, environment)


def _is_permanent(error: SteRayError) -> bool:
    """Whether trying the same again is of no use."""
    if isinstance(error, EndpointUnreachableError | EndpointRefusalError | DecodingError):
        return False  # the server may come back or think better, another node has another device
    return isinstance(error, UserError) or error.exit_code == 1


def _raise_known_failure(stage: str, context: StageContext, attempt: str) -> None:
    """End a resubmitted job at once whose failure is known, with the same error."""
    failure = None if context.again else read_failure(context.store, stage, attempt)
    if failure is None:
        return
    at = datetime.fromtimestamp(failure.at, UTC).isoformat(timespec="seconds")
    context.progress(
        f"{stage}: the same configuration failed for good at {at}, and nothing is tried; once the"
        " cause is mended outside of the configuration, give --again"
    )
    raise failure.error()


def _tracked_body(
    stage: str, context: StageContext, body: StageBody, attempt: str
) -> dict[str, Any]:
    """Run the body, and tell trackers how it began and ended, if there are any."""
    config = context.config
    context.tracking = open_tracking(
        config.track,
        context.store.uri,
        stage,
        config.stage_fields(stage),
        _masker(context),
        context.progress,
    )
    counts: dict[str, Any] | None = None
    try:
        counts = _run_body(stage, context, body, attempt)
        return counts
    finally:
        context.tracking.end(flat_figures(stage, counts or {}), complete=counts is not None)


def _run_body(stage: str, context: StageContext, body: StageBody, attempt: str) -> dict[str, Any]:
    try:
        return body(context)
    except Exception as error:
        known = find_own_error(error)
        if known is None:
            raise
        known = _masked_error(known, context)
        if _is_permanent(known):
            _forget_empty_start(stage, context.store)
            write_failure(context.store, stage, attempt, known)
        raise known from error


def _masked_error(error: SteRayError, context: StageContext) -> SteRayError:
    """Return an error without what must be stored nowhere, should it have come so far."""
    masked = _masker(context).mask(str(error))
    return error if masked == str(error) else type(error)(masked)


def _masker(context: StageContext) -> Masker:
    names = set(context.config.llm.key_variables)
    tools = vars(context).get("configured_tools")  # if they have been read
    if tools is not None:
        names |= {name for spec in tools.specs.values() for name in spec.secrets}
    return environment_masker(names)


def _forget_empty_start(stage: str, store: RunStore) -> None:
    """Let a corrected configuration use the run, if the wrong one has produced nothing yet."""
    bookkeeping = (layout.started(stage), layout.models(stage), layout.TOOLS)
    paths = store.list(stage)
    if all(path.startswith(bookkeeping) or is_seal(path) for path in paths):
        store.delete_folder(stage)


def find_own_error(error: BaseException) -> SteRayError | None:
    """Return the error raised on purpose inside ``error``, through what Ray wraps around it."""
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        current = queue.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        cause = getattr(current, "cause", None)
        # RayTaskError(X) is an instance of X too, but its text is a remote traceback.
        if isinstance(current, SteRayError) and not isinstance(cause, BaseException):
            return current
        queue += [cause, current.__cause__, current.__context__]
        failures = getattr(current, "worker_failures", None)  # Ray Train, by rank
        if isinstance(failures, dict):
            queue += list(failures.values())
    return None

"""What a stage leaves beside its data: what it was asked, what it made, and why it failed.

``started.json`` is written first, ``manifest.json`` last, so a folder with a manifest is complete
and one without is to be resumed. ``failure.json`` keeps a permanent error, so that a resubmitted
job of the same configuration ends with the same line instead of failing slowly again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from ste_ray import __version__, errors
from ste_ray.core import layout
from ste_ray.core.asked_models import AskedModel, asked_models
from ste_ray.core.differences import differences, flattened
from ste_ray.core.records import SCHEMA_VERSION, Record, fingerprint
from ste_ray.errors import RunConflictError, StageInputError, SteRayError
from ste_ray.store.artifacts import RunStore, encode_json

_MAX_DIFFERENCES = 3
# Counts that differ when a stage goes on, though nothing new has come of it.
_OF_THE_MAKING = (
    "answers_replayed",
    "exploring_seconds",
    "model_replies_asked",
    "reasoning",
    "replies_per_second",
    "spent",
)

R = TypeVar("R", bound=Record)


class StageRequest(Record):
    """What a stage was asked to do: the content of ``started.json``."""

    stage: str
    schema_version: int = SCHEMA_VERSION
    config: dict[str, Any]  # the fields that decide the result
    config_fingerprint: str
    inputs: dict[str, str] = Field(
        default_factory=dict
    )  # fingerprints of earlier stages' manifests


class StageManifest(StageRequest):
    """What a finished stage was asked and what it made: the content of ``manifest.json``."""

    code_version: str
    started_at: float  # seconds since 1970
    seconds: float
    seed: int
    counts: dict[str, Any] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what a reader of the results must know
    stopped_by: str = ""  # why it ended before its work was done; run again, it goes on
    # By role; None: written by a version that kept their names in ``models.json`` only.
    models: dict[str, AskedModel] | None = None


class StageFailure(Record):
    """A permanent failure of a stage: the content of ``failure.json``."""

    stage: str
    attempt: str  # what was tried: identity of the whole configuration, the inputs and the version
    error_type: str  # a class of ste_ray.errors
    message: str
    exit_code: int
    at: float  # seconds since 1970

    def error(self) -> SteRayError:
        """Return the error as it was raised."""
        kind = getattr(errors, self.error_type, SteRayError)
        known = isinstance(kind, type) and issubclass(kind, SteRayError)
        return kind(self.message) if known else SteRayError(self.message)


def manifest_fingerprint(manifest: StageManifest) -> str:
    """Identity of what a stage has made, for the stages that read it; not of how it was made."""
    counts = {name: value for name, value in manifest.counts.items() if name not in _OF_THE_MAKING}
    return fingerprint(manifest.config_fingerprint, manifest.inputs, counts)


def read_manifest(store: RunStore, stage: str) -> StageManifest | None:
    """Return the manifest of a finished stage, or None."""
    return _read(store, layout.manifest(stage), StageManifest)


def read_request(store: RunStore, stage: str) -> StageRequest | None:
    """Return what a stage was asked for when it was begun, or None when it never was."""
    return _read(store, layout.started(stage), StageRequest)


def read_models(store: RunStore, stage: str) -> dict[str, AskedModel]:
    """Return which models were asked in a stage, by role; it may not be finished."""
    manifest = read_manifest(store, stage)
    if manifest is not None and manifest.models is not None:
        return manifest.models
    path = layout.models(stage)
    return asked_models(store.read_json(path)) if store.exists(path) else {}


def write_manifest(store: RunStore, manifest: StageManifest) -> None:
    """Declare a stage finished; everything else must have been written before."""
    store.write_json(layout.manifest(manifest.stage), manifest.model_dump(mode="json"))


def declare_stage(
    store: RunStore,
    stage: str,
    fields: Mapping[str, Any],
    counts: Mapping[str, Any],
    *,
    started_at: float,
    inputs: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    seed: int = 0,
    models: Mapping[str, AskedModel] | None = None,
) -> StageManifest:
    """Declare a stage finished that was not run: what it holds was brought in, or taken from a run.

    Args:
        store: the run.
        stage: its name.
        fields: what it was made of, in place of its configuration.
        counts: of what it holds.
        started_at: in seconds since 1970.
        inputs: fingerprints of what it was made from.
        notes: what a reader of the results must know.
        seed: of what was drawn, if anything.
        models: which models were asked where the data come from.
    """
    manifest = StageManifest(
        stage=stage,
        config=dict(fields),
        config_fingerprint=fingerprint(fields),
        inputs=dict(inputs or {}),
        code_version=__version__,
        started_at=started_at,
        seconds=round(time.time() - started_at, 3),
        counts=dict(counts),
        notes=tuple(notes),
        seed=seed,
        models=dict(models or {}),
    )
    write_manifest(store, manifest)
    return manifest


State = Literal["complete", "resume", "new"]


def begin_stage(
    store: RunStore,
    stage: str,
    config_fields: Mapping[str, Any],
    config_fingerprint: str,
    inputs: Mapping[str, str],
) -> State:
    """Say whether a stage is finished, was begun, or begins now (which is noted durably).

    One that was stopped before its work was done, by its budget for example, counts as begun.

    Raises:
        RunConflictError: the stage was run or begun with another configuration or other inputs.
    """
    request = _request(stage, config_fields, config_fingerprint, inputs)
    state = _state(store, request)
    path = layout.started(stage)
    if state != "new" or store.create_bytes(path, encode_json(request.model_dump(mode="json"))):
        return state
    return _state(store, request)


def stage_state(
    store: RunStore,
    stage: str,
    config_fields: Mapping[str, Any],
    config_fingerprint: str,
    inputs: Mapping[str, str],
) -> State:
    """Say the same without beginning anything."""
    return _state(store, _request(stage, config_fields, config_fingerprint, inputs))


def _request(
    stage: str,
    config_fields: Mapping[str, Any],
    config_fingerprint: str,
    inputs: Mapping[str, str],
) -> StageRequest:
    return StageRequest(
        stage=stage,
        config=dict(config_fields),
        config_fingerprint=config_fingerprint,
        inputs=dict(inputs),
    )


def _state(store: RunStore, request: StageRequest) -> State:
    manifest = read_manifest(store, request.stage)
    found = manifest or read_request(store, request.stage)
    if found is None:
        return "new"
    _check_same(store, found, request)
    return "complete" if manifest is not None and not manifest.stopped_by else "resume"


def write_failure(store: RunStore, stage: str, attempt: str, error: SteRayError) -> None:
    """Record that a stage failed for good."""
    failure = StageFailure(
        stage=stage,
        attempt=attempt,
        error_type=type(error).__name__,
        message=str(error),
        exit_code=error.exit_code,
        at=time.time(),
    )
    store.write_json(layout.failure(stage), failure.model_dump(mode="json"))


def read_failure(store: RunStore, stage: str, attempt: str) -> StageFailure | None:
    """Return the permanent failure recorded of this very attempt, or None."""
    failure = _read(store, layout.failure(stage), StageFailure)
    return failure if failure is not None and failure.attempt == attempt else None


def clear_failure(store: RunStore, stage: str) -> None:
    """Forget a recorded failure, if any."""
    store.delete(layout.failure(stage))


def _read(store: RunStore, path: str, model: type[R]) -> R | None:
    try:
        value = store.read_json(path)
    except FileNotFoundError:
        return None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise StageInputError(
            f"{store.address(path)!r}: {field or 'content'!r}: {problem['msg']}; it was written by "
            "another version or program: delete the stage's folder and run it again"
        ) from error


def _check_same(store: RunStore, found: StageRequest, asked: StageRequest) -> None:
    if (
        found.schema_version == asked.schema_version
        and found.config_fingerprint == asked.config_fingerprint
        and found.inputs == asked.inputs
    ):
        return
    texts = differences(_facts(found), _facts(asked))
    if not texts:
        texts = ["its configuration was recorded by another version of this program"]
    shown = "; ".join(texts[:_MAX_DIFFERENCES])
    more = len(texts) - _MAX_DIFFERENCES
    raise RunConflictError(
        f"stage {asked.stage!r} in {store.uri!r} was run or begun differently: {shown}"
        f"{f'; and {more} more' if more > 0 else ''}. Give another run URI, or delete "
        f"{store.address(asked.stage)!r} to make it anew"
    )


def _facts(request: StageRequest) -> dict[str, Any]:
    # Through JSON, in which tuples are lists, because what was found was read from JSON.
    values = request.model_dump(mode="json")
    facts = flattened(values["config"])
    facts |= {f"input {name!r}": value for name, value in values["inputs"].items()}
    facts["schema version"] = values["schema_version"]
    return facts

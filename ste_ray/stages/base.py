"""What every stage shares: its context, its inputs, and the manifest that is written last."""

from __future__ import annotations

import hashlib
import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from ste_ray import __version__
from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.inferring.settings import RUN_MODELS, parse_settings
from ste_ray.core.prompts import REQUIRED_PROMPTS, PromptSet
from ste_ray.core.records import ToolSpec, fingerprint
from ste_ray.core.texts.masking import Masker
from ste_ray.errors import (
    ConfigError,
    DecodingError,
    EndpointRefusalError,
    EndpointUnreachableError,
    StageInputError,
    SteRayError,
    UserError,
)
from ste_ray.imports.general_data import GeneralData
from ste_ray.process.environment import environment_masker
from ste_ray.resources import resource_folder
from ste_ray.stages.shared.tools import ConfiguredTools, configure_tools
from ste_ray.store.artifacts import RunStore
from ste_ray.store.lock import RunLock
from ste_ray.store.manifest import (
    StageManifest,
    begin_stage,
    clear_failure,
    manifest_fingerprint,
    read_failure,
    read_manifest,
    stage_state,
    write_failure,
    write_manifest,
)

# The stages whose artifacts a stage reads; see ``inputs_of`` for infer.
INPUTS: dict[str, tuple[str, ...]] = {
    "explore": (),
    "prepare": ("explore",),
    "retrieve": ("prepare",),
    "train": ("prepare",),
    "evaluate": ("infer",),
    "continual": ("prepare",),
}
USES_PROMPTS = ("explore", "prepare", "infer", "evaluate")


@dataclass
class StageContext:
    """What a stage works with.

    Attributes:
        config: the whole configuration; a stage reads its own section and the shared ones.
        store: the run's artifacts.
        progress: says a line to the person who waits.
        show: whether conversations are printed while they happen.
        live: whether a bar may be drawn in a terminal.
        again: try although the same configuration has failed for good before.
        epoch: of the run lock; part of the names of journal segments.
        check_owner: raises when the run belongs to another process by now.
        notes: honest remarks for manifest and report, appended by the stage.
        stopped_by: set by a stage that ends before its work is done, for example by its budget.
    """

    config: Config
    store: RunStore
    progress: Callable[[str], None]
    show: bool = False
    live: bool = False
    again: bool = True
    epoch: int = 0
    check_owner: Callable[[], None] = lambda: None
    notes: list[str] = field(default_factory=list)
    stopped_by: str = ""

    @cached_property
    def specs(self) -> dict[str, ToolSpec]:
        """The run's tools by name, as they were explored."""
        return read_specs(self.store)

    @cached_property
    def configured_tools(self) -> ConfiguredTools:
        """The tools as the tool files describe them now; what explore starts from."""
        return configure_tools(self.config.tools)

    def for_stage(self) -> StageContext:
        """Return a context for one stage, without the notes of others.

        Tools that have been read are handed over and not kept: they are read once, and what
        the stage frees of them is free.
        """
        fresh = StageContext(
            config=self.config,
            store=self.store,
            progress=self.progress,
            show=self.show,
            live=self.live,
            again=self.again,
        )
        name = "configured_tools"  # as cached_property keeps it
        if name in self.__dict__:
            fresh.__dict__[name] = self.__dict__.pop(name)
        return fresh

    @cached_property
    def prompts(self) -> PromptSet:
        """The shipped prompt templates."""
        return load_prompts()


StageBody = Callable[[StageContext], dict[str, Any]]


def read_specs(store: RunStore) -> dict[str, ToolSpec]:
    """Return the tools as explore noted them, by name."""
    stored = store.read_json(layout.TOOLS)
    return {item["name"]: ToolSpec.model_validate(item) for item in stored}


def load_prompts() -> PromptSet:
    """Read the prompt files that ship with the project."""
    folder = resource_folder("prompts")
    templates = {path.stem: path.read_text("utf-8") for path in sorted(folder.glob("*.txt"))}
    missing = sorted(REQUIRED_PROMPTS - templates.keys())
    if missing:
        raise ConfigError(f"the prompts folder lacks {missing[0]!r}.txt; install ste-ray again")
    return PromptSet(templates)


def run_stage(stage: str, context: StageContext, body: StageBody) -> StageManifest:
    """Run ``body`` under the run's lock and write the stage's manifest last.

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
        inputs = _input_fingerprints(stage, context)
        fields, print_of = config.stage_fields(stage), config.stage_fingerprint(stage)
        state = begin_stage(store, stage, fields, print_of, inputs)
        if state == "complete":
            manifest = read_manifest(store, stage)
            assert manifest is not None
            context.progress(f"{stage}: already complete in {store.uri}, nothing to do")
            return manifest
        if state == "resume":
            context.progress(f"{stage}: going on with what an earlier run left in {store.uri}")
        attempt = _attempt(config, inputs)
        _raise_known_failure(stage, context, attempt)
        clear_failure(store, stage)
        started, begun = time.time(), time.monotonic()
        counts = _run_body(stage, context, body, attempt)
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
        )
        write_manifest(store, manifest)
        return manifest


def check_stages(stages: Sequence[str], context: StageContext) -> None:
    """Refuse what the run cannot be used for, as far as that is known before any stage is run.

    It takes no lock and writes nothing: ``run_stage`` finds the same, but only once Ray has
    started, which takes long, and fails on a busy machine.

    Raises:
        StageInputError: an earlier stage is not complete.
        RunConflictError: the run holds artifacts of another configuration.
    """
    for stage in stages:
        inputs = _input_fingerprints(stage, context)
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
    if all(path.startswith(bookkeeping) or "/sealed-" in path for path in paths):
        store.delete_folder(stage)


def _input_fingerprints(stage: str, context: StageContext) -> dict[str, str]:
    """Identify everything besides the configuration that decides what the stage makes."""
    store = context.store
    prints = {"prompts": context.prompts.fingerprint} if stage in USES_PROMPTS else {}
    if stage == "explore":
        prints["tools"] = fingerprint(
            [
                spec.model_dump(mode="json", exclude={"requests_per_minute", "concurrency"})
                for spec in context.configured_tools.specs.values()
            ]
        )
    general_data = context.config.prepare.mix.general_data
    if stage == "prepare" and general_data:
        prints["general_data"] = GeneralData(general_data).fingerprint
    labels = context.config.evaluate.judge.labels
    if stage == "evaluate" and context.config.evaluate.judge.enabled and labels:
        prints["judge_labels"] = _file_fingerprint(labels, "evaluate.judge.labels")
    for earlier in inputs_of(stage, context.config):
        manifest = read_manifest(store, earlier)
        if manifest is None:
            raise StageInputError(
                f"{stage} needs the artifacts of {earlier}, which is not complete in "
                f"{store.uri!r}; run 'ste-ray {earlier} --run {shlex.quote(store.uri)}' first"
            )
        prints[earlier] = manifest_fingerprint(manifest)
    return prints


def _file_fingerprint(path: str, key: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ConfigError(
            f"{key}={path!r} cannot be read ({error.strerror}); give an existing file"
        ) from None


def inputs_of(stage: str, config: Config) -> tuple[str, ...]:
    """Return the stages whose artifacts ``stage`` reads as it is configured.

    Raises:
        ConfigError: a setting of infer is unknown.
    """
    if stage != "infer":
        return INPUTS[stage]
    settings = parse_settings(config.infer.settings, config.infer.models)
    retrieves = any(setting.needs_retrieval for setting in settings)
    trains = any(setting.model in RUN_MODELS for setting in settings)
    return ("retrieve" if retrieves else "prepare", *(["train"] if trains else []))


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

"""Takes the data of another run: its finished stages, file by file.

Two models that were trained in different ways are compared fairly only on the same requests, and
from the same training examples. Runs that share these stages have both.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from ste_ray.core import layout
from ste_ray.core.stages import DATA_STAGES
from ste_ray.errors import ConfigError, RunConflictError, StageInputError, TemporaryError
from ste_ray.store.artifacts import RunStore
from ste_ray.store.lock import RunLock
from ste_ray.store.manifest import StageManifest, read_manifest, write_manifest

_FILES_AT_ONCE = 8  # in object storage most of the time is waiting


def import_run(
    store: RunStore, source: RunStore, through: str, say: Callable[[str], None]
) -> list[StageManifest]:
    """Copy the stages of a run up to one of them; those that were copied before are passed over.

    What is not all there when the copying ends is copied again. The other run is only read.

    Args:
        store: the run to make.
        source: the run that has the stages.
        through: the last stage to take, one of ``DATA_STAGES``.
        say: tells the person who waits.

    Returns:
        The manifests of all these stages, as they stand in ``store`` now.

    Raises:
        ConfigError: both runs are the same.
        StageInputError: a stage is not complete in the other run.
        RunConflictError: the run has such a stage of its own.
        RunLockedError: another process owns the run.
        TemporaryError: a stage was done again in the other run while it was copied.
    """
    if store.uri == source.uri:
        raise ConfigError(f"{store.uri!r} cannot be taken from itself; give another --run")
    stages = DATA_STAGES[: DATA_STAGES.index(through) + 1]
    asked = [_complete(source, stage) for stage in stages]
    with RunLock(store, "import") as lock:
        todo = [manifest for manifest in asked if not _is_there(store, source, manifest)]
        if not todo:
            say(f"import: {', '.join(stages)} of {source.uri} are in {store.uri} already")
        for manifest in todo:
            say(f"import: taking {manifest.stage} from {source.uri}")
            _copy(store, source, manifest)
            lock.check()
            note = f"{manifest.stage} was taken from the run {source.uri!r}"
            write_manifest(store, manifest.model_copy(update={"notes": (*manifest.notes, note)}))
    return [_complete(store, stage) for stage in stages]


def _complete(run: RunStore, stage: str) -> StageManifest:
    manifest = read_manifest(run, stage)
    if manifest is not None and not manifest.stopped_by:
        return manifest
    reason = f"was stopped ({manifest.stopped_by})" if manifest else "is not complete"
    raise StageInputError(
        f"{stage} {reason} in {run.uri!r}; run 'ste-ray {stage} --run {shlex.quote(run.uri)}' there"
        " first, or take fewer stages by --through"
    )


def _is_there(store: RunStore, source: RunStore, asked: StageManifest) -> bool:
    """Whether a stage was copied before, all of it.

    Raises:
        RunConflictError: the run has such a stage, and it is not that of ``source``.
    """
    found = read_manifest(store, asked.stage)
    if found is not None and _same(found, asked):
        return True
    marker = layout.imported(asked.stage)
    begun = store.exists(marker) and store.read_json(marker) == _origin(source)
    if found is not None or (store.list(asked.stage) and not begun):
        raise RunConflictError(
            f"{store.uri!r} has another {asked.stage} than {source.uri!r}; give another --run, or"
            f" delete {store.address(asked.stage)!r} to take that one"
        )
    return False


def _same(found: StageManifest, asked: StageManifest) -> bool:
    """Whether one stage was copied from the other: no two begin in the same microsecond."""
    own = found.model_copy(update={"notes": asked.notes})
    return own.model_dump(mode="json") == asked.model_dump(mode="json")


def _origin(source: RunStore) -> dict[str, str]:
    return {"run": source.uri}


def _copy(store: RunStore, source: RunStore, asked: StageManifest) -> None:
    """Copy all files of a stage but its manifest, behind a marker that says so; leave no others.

    Raises:
        TemporaryError: it is no longer the stage that was asked for.
    """
    stage = asked.stage
    store.write_json(layout.imported(stage), _origin(source))
    left = {layout.manifest(stage), layout.imported(stage)}
    wanted = [path for path in source.list(stage) if path not in left]
    # Of an import that was cut off, files may be here that the source has no longer.
    surplus = {*store.list(stage)} - {*wanted, *left}

    def copy(path: str) -> None:
        store.write_bytes(path, source.read_bytes(path))

    try:
        _for_each(store.delete, surplus)
        _for_each(copy, wanted)
    except FileNotFoundError:
        raise _changed(source, stage) from None
    # Nothing locks the source.
    now = read_manifest(source, stage)
    if now is None or not _same(now, asked):
        raise _changed(source, stage)


def _for_each(do: Callable[[str], None], paths: Iterable[str]) -> None:
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        for done in [pool.submit(do, path) for path in paths]:
            done.result()


def _changed(source: RunStore, stage: str) -> TemporaryError:
    return TemporaryError(
        f"{stage} of {source.uri!r} was done again while it was copied; wait until it is complete"
        " there, and run this again"
    )

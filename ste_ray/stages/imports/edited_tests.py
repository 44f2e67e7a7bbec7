"""Puts an edited test set in the place of a prepared run's tests.

Training data stay as they are, and so does the manifest of ``prepare``: what was trained goes on to
belong to the run. Stages that read tests take the file's fingerprint as an input of theirs.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow.compute as pc

from ste_ray.core import layout
from ste_ray.core.records import TEST_KINDS, Example, TestDialog
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import RunConflictError, StageInputError
from ste_ray.imports.rows import Row, told
from ste_ray.imports.test_sets import TestSet
from ste_ray.stages.imports.edited_checks import Edited, problems_of
from ste_ray.store.artifacts import RunStore
from ste_ray.store.lock import RunLock
from ste_ray.store.manifest import read_manifest, read_request
from ste_ray.store.tables import (
    encode_table,
    iter_records,
    open_parquet,
    parquet_files,
    write_records,
)

_READ_TESTS = ("retrieve", "infer", "evaluate", "continual")


def import_edited_tests(
    store: RunStore, tests: TestSet, specs: Mapping[str, ToolSpec]
) -> dict[str, int]:
    """Replace the tests of a prepared run; run again with the same file, it does the same.

    Args:
        store: the run.
        tests: what was read.
        specs: the tools of the run.

    Returns:
        How many tests there are of each kind, and how many are new or changed.

    Raises:
        StageInputError: the run is not prepared, or rows are wrong: the first of them are named.
        RunConflictError: a stage has read the tests already.
    """
    with RunLock(store, "tests import") as lock:
        _require_unread(store)
        before = {
            one.example_id: one
            for one in iter_records(store, layout.EXAMPLES, Example)
            if one.split == "test"
        }
        asked = _dialogs(store)
        edited = [
            Edited(
                row, example, dialog, before.get(example.example_id), asked.get(example.example_id)
            )
            for row, example, dialog in _edited(tests, before)
        ]
        in_dialogs = bool(asked) and before.keys() <= asked.keys()
        problems = list(problems_of(store, edited, before, in_dialogs, specs))
        if problems:
            raise StageInputError(told(problems))
        examples = [one.test for one in edited]
        dialogs = [one.dialog for one in edited if one.dialog]
        store.write_json(layout.EDITED_MARKER, {})
        # Before others lose theirs: of a test that was only reworded all else is kept.
        write_records(store, layout.EDITED_TESTS, examples, Example)
        if dialogs or asked:
            write_records(store, layout.part(layout.DIALOGS, 0), dialogs, TestDialog)
        for path in parquet_files(store, layout.EXAMPLES):
            if path != layout.EDITED_TESTS:
                lock.check()
                _drop_tests(store, path)
        store.write_json(layout.EDITED_MARKER, {"sha256": tests.fingerprint})
    counts = Counter(one.kind for one in examples)
    changed = sum(one.changed for one in edited)
    return {kind: counts[kind] for kind in TEST_KINDS if counts[kind]} | {"new or changed": changed}


def edited_tests_fingerprint(store: RunStore) -> str:
    """Return the identity of the tests that replaced those of a run; empty: none did.

    Raises:
        StageInputError: their import was cut off.
    """
    if not store.exists(layout.EDITED_MARKER):
        return ""
    marker: dict[str, Any] = store.read_json(layout.EDITED_MARKER)
    if "sha256" not in marker:
        raise StageInputError(
            f"an import of tests into {store.uri!r} was cut off; run 'ste-ray tests import FILE "
            f"--run {shlex.quote(store.uri)}' again"
        )
    return str(marker["sha256"])


def _require_unread(store: RunStore) -> None:
    uri = shlex.quote(store.uri)
    if read_manifest(store, "prepare") is None:
        raise StageInputError(
            f"{store.uri!r} is not prepared; run 'ste-ray prepare --run {uri}' first, or make a "
            f"run of a test set alone by 'ste-ray import tests FILE --run {uri}'"
        )
    read = [stage for stage in _READ_TESTS if read_request(store, stage) is not None]
    if read:
        raise RunConflictError(
            f"{', '.join(read)} of {store.uri!r} went by the tests that it has; delete "
            f"{', '.join(repr(store.address(stage)) for stage in read)} to run them anew (what was "
            "trained stays), or make another run of the file by 'ste-ray import tests'"
        )


def _dialogs(store: RunStore) -> dict[str, TestDialog]:
    return {
        one.example_id: one
        for path in parquet_files(store, layout.DIALOGS)
        for one in iter_records(store, path, TestDialog)
    }


def _edited(
    tests: TestSet, before: Mapping[str, Example]
) -> Iterator[tuple[Row, Example, TestDialog | None]]:
    """Yield the tests; one of before keeps what no row tells, where its call is the same."""
    dialogs = {one.example_id: one for one in tests.dialogs}
    for example, row in zip(tests.examples, tests.rows, strict=True):
        dialog = dialogs.get(example.example_id)
        old = before.get(row.text("id", default=""))
        if old is None:
            yield row, example, dialog
            continue
        same_call = (old.tool, old.arguments_json) == (example.tool, example.arguments_json)
        kept = old if same_call else example
        test = example.model_copy(
            update={
                "example_id": old.example_id,
                "trial_id": old.trial_id,
                "group_id": kept.group_id,
                "observation": kept.observation,
                "origin": old.origin,
                "final_answer": example.final_answer or (kept.final_answer if old.tool else ""),
            }
        )
        yield row, test, dialog and dialog.model_copy(update={"example_id": old.example_id})


def _drop_tests(store: RunStore, path: str) -> None:
    """Leave what is no test in a file of examples; one of tests alone goes."""
    table = open_parquet(store, path).read()
    kept = table.filter(pc.not_equal(table.column("split"), "test"))
    if kept.num_rows == table.num_rows:
        return
    if not kept.num_rows and not path.startswith(f"{layout.EXAMPLES}/part-"):
        store.delete(path)
        return
    store.write_bytes(path, encode_table(kept))

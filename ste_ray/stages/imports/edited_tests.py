"""Puts an edited test set in the place of a prepared run's tests.

Training data stay as they are, and so does the manifest of ``prepare``: what was trained goes on to
belong to the run. Stages that read tests take the file's fingerprint as an input of theirs.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow.compute as pc

from ste_ray.core import layout
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.records import TEST_KINDS, Example
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import RunConflictError, StageInputError
from ste_ray.imports.rows import Row, told
from ste_ray.imports.test_sets import TestSet
from ste_ray.stages.shared.trained_requests import files_of_trained_requests, trained_requests
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
from ste_ray.tools.checks.bounded import BoundedCheck

_READ_TESTS = ("retrieve", "infer", "evaluate", "continual")
_KEYS = frozenset({
    "id", "kind", "query", "tool", "action", "arguments", "action_input", "accepted", "near_tool",
    "missing", "failed_calls", "final_answer", "final_ans",
})  # fmt: skip


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
        examples = list(_examples(tests, before))
        problems = list(_problems(store, tests, examples, before, specs))
        if problems:
            raise StageInputError(told(problems))
        store.write_json(layout.EDITED_MARKER, {})
        # Before others lose theirs: of a test that was only reworded all else is kept.
        write_records(store, layout.EDITED_TESTS, examples, Example)
        for path in parquet_files(store, layout.EXAMPLES):
            if path != layout.EDITED_TESTS:
                lock.check()
                _drop_tests(store, path)
        store.write_json(layout.EDITED_MARKER, {"sha256": tests.fingerprint})
    counts = Counter(one.kind for one in examples)
    changed = sum(before.get(one.example_id) != one for one in examples)
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


def _problems(
    store: RunStore,
    tests: TestSet,
    examples: Sequence[Example],
    before: Mapping[str, Example],
    specs: Mapping[str, ToolSpec],
) -> Iterator[str]:
    """Yield what is wrong with rows, with their places; not with what the run itself holds."""
    checks = {name: BoundedCheck(name, spec.parameters) for name, spec in specs.items()}
    tested = {normalise(one.query) for one in examples}
    trained = {
        text
        for path in files_of_trained_requests(store)
        for text in trained_requests(store, path)
        if text in tested
    }
    ids: dict[str, str] = {}
    asked: dict[tuple[str, bool], list[_Place]] = {}
    for example, row in zip(examples, tests.rows, strict=True):
        edited = before.get(example.example_id) != example
        problem = _key_problem(row) or (_problem(example, specs, checks) if edited else "")
        # After a call that failed, a request is another test than it is alone.
        alike = asked.setdefault((normalise(example.query), bool(example.failed_calls)), [])
        key = row.text("id", default="")
        other = ids.setdefault(key, row.place) if key else row.place
        for one in alike:
            if not problem and (edited or one.edited):
                problem = _same_problem(example.tool, one)
        alike.append(_Place(row.place, example.tool, edited))
        if not problem and other != row.place:
            problem = f"it has the 'id' {key!r} of {other}; leave it out of a new test"
        if not problem and edited and normalise(example.query) in trained:
            problem = "its query stands in the training data; a test must be one that no model saw"
        if problem:
            yield str(row.error(problem))


class _Place(NamedTuple):
    """Where a request stands."""

    place: str
    tool: str
    edited: bool


def _same_problem(tool: str, other: _Place) -> str:
    if tool == other.tool:
        return f"it is the same test as {other.place}"
    right = [f"a call of {one!r}" if one else "no call" for one in (other.tool, tool)]
    return (
        f"its request is that of {other.place}, but there {right[0]} is right and here {right[1]};"
        " word one of them so that only its own answer is, or delete it"
    )


def _key_problem(row: Row) -> str:
    for name in row.fields:
        if name not in _KEYS:
            hint = did_you_mean(name, _KEYS)
            return f"it has the unknown key {name!r}{hint}; allowed: {', '.join(sorted(_KEYS))}"
    return ""


def _problem(
    example: Example,
    specs: Mapping[str, ToolSpec],
    checks: Mapping[str, BoundedCheck],
) -> str:
    for key, tool in (("tool", example.tool), ("near_tool", example.near_tool)):
        if tool and tool not in specs:
            return f"the {key} {tool!r} is not in the run{did_you_mean(tool, specs)}"
    if example.missing and example.near_tool:
        known = specs[example.near_tool].parameters.get("properties", {})
        if example.missing not in known:
            hint = did_you_mean(example.missing, known)
            return f"{example.near_tool!r} has no argument {example.missing!r}{hint} to be missing"
    if example.tool and (refusal := checks[example.tool].refusal_now(example.arguments_json)):
        return f"the arguments do not fit the schema of {example.tool!r}: {refusal}"
    return ""


def _examples(tests: TestSet, before: Mapping[str, Example]) -> Iterator[Example]:
    """Yield the tests; one of before keeps what no row tells, where its call is the same."""
    for example, row in zip(tests.examples, tests.rows, strict=True):
        old = before.get(row.text("id", default=""))
        if old is None:
            yield example
            continue
        same_call = (old.tool, old.arguments_json) == (example.tool, example.arguments_json)
        kept = old if same_call else example
        yield example.model_copy(
            update={
                "example_id": old.example_id,
                "trial_id": old.trial_id,
                "group_id": kept.group_id,
                "observation": kept.observation,
                "origin": old.origin,
                "final_answer": example.final_answer or (kept.final_answer if old.tool else ""),
            }
        )


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

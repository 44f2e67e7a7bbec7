"""What is done once all tests of other kinds are made: what no fair test is, is taken out.

A test is compared with its own tool's requests where it is made. Here it is compared with those of
all others, of tools that are held out and of general data, which training sees, and with the tests
of other tools.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import ray

from ste_ray.core import layout
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.records import Example, MadeTest
from ste_ray.core.test_making.repeated import repeated_tests
from ste_ray.core.test_making.totals import totals_of_tests
from ste_ray.stages.base import StageContext
from ste_ray.stages.shared.trained_requests import (
    explicit_requests,
    files_of_trained_requests,
    trained_requests,
)
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import (
    iter_records,
    parquet_files,
    read_records,
    write_records,
)

_SEEN = "the same request stands in the training data"


def count_tests(context: StageContext) -> dict[str, Any]:
    """Take tests out that are none, write the totals, and return the counts by kind.

    All training rows are written before.
    """
    store = context.store
    parts = parquet_files(store, layout.MADE_TESTS)
    made = [one for part in parts for one in iter_records(store, part, MadeTest)]
    trained, explicit = _found_of({normalise(one.query) for one in made}, store)
    reasons = repeated_tests(made, explicit) | {
        one.test_id: _SEEN
        for one in made
        if one.status == "kept" and normalise(one.query) in trained
    }
    if reasons:
        for part in parts:
            take_out(store, part, reasons)
        made = [one for part in parts for one in iter_records(store, part, MadeTest)]
    totals = totals_of_tests(made)
    store.write_json(layout.TEST_TOTALS, totals.model_dump(mode="json"))
    for one in totals.kinds:
        if not one.kept:
            why = f", most often: {one.dropped[0].reason}" if one.dropped else ""
            context.notes.append(f"no test of the kind {one.kind!r} was kept{why}")
    return {one.kind: {"kept": one.kept, "dropped": one.made - one.kept} for one in totals.kinds}


def _found_of(wanted: Collection[str], store: RunStore) -> tuple[set[str], set[str]]:
    """Return those of some requests that training has, and those that explicit tests have."""
    if not wanted:
        return set(), set()
    shared = ray.put(frozenset(wanted))
    search = ray.remote(search_requests)
    files = files_of_trained_requests(store)
    found = ray.get([search.remote(store, path, shared) for path in files])
    return set().union(*(one for one, _ in found)), set().union(*(one for _, one in found))


def search_requests(
    store: RunStore, path: str, wanted: Collection[str]
) -> tuple[set[str], set[str]]:
    """Return which requests a file has that training sees, and which of explicit tests.

    Args:
        store: of the run.
        path: one of ``files_of_trained_requests``.
        wanted: requests to look for, as ``normalise`` writes them.
    """
    trained, explicit = trained_requests(store, path), explicit_requests(store, path)
    return {one for one in trained if one in wanted}, {one for one in explicit if one in wanted}


def take_out(store: RunStore, part: str, reasons: Mapping[str, str]) -> None:
    """Drop tests of a part, first as examples; done twice, it is as if done once.

    Args:
        store: of the run.
        part: the file of the tests that were made.
        reasons: why, by the id of the test.
    """
    path = layout.kinds_part(part.rpartition("/")[2].removesuffix(".parquet"))
    examples = read_records(store, path, Example)
    kept = [one for one in examples if one.example_id not in reasons]
    if len(kept) < len(examples):
        write_records(store, path, kept, Example)
    told = [
        one.model_copy(
            update={"status": "dropped", "step": "train", "reason": reasons[one.test_id]}
        )
        if one.test_id in reasons
        else one
        for one in read_records(store, part, MadeTest)
    ]
    write_records(store, part, told, MadeTest)

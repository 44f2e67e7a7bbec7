"""Which test requests of a run are unseen in its training data: Ray tasks look through the parts.

What unseen means is decided in ``ste_ray.core.scoring.unseen``.
"""

from __future__ import annotations

from collections.abc import Iterator

import ray

from ste_ray.core import layout
from ste_ray.core.records import Example
from ste_ray.core.scoring.unseen import Call, Found, TrainingLookup, Unseen, Wanted
from ste_ray.stages.base import StageContext
from ste_ray.store.artifacts import RunStore
from ste_ray.store.damage import reading
from ste_ray.store.tables import open_parquet, parquet_files, require_columns

_ROWS_AT_ONCE = 1024


def find_unseen(context: StageContext) -> Unseen | None:
    """Return the test requests whose phrasing and values no training example of the run has.

    Returns:
        None where the run has no training examples, or no test that needs a call.

    Raises:
        StageInputError: examples are damaged.
    """
    store = context.store
    parts = parquet_files(store, layout.EXAMPLES)
    read = ray.remote(read_tests)
    tests = [
        one for found in ray.get([read.remote(store, part) for part in parts]) for one in found
    ]
    if not tests:
        return None
    lookup = TrainingLookup(tests, context.specs)
    wanted = ray.put(lookup.wanted)
    search = ray.remote(search_training)
    unseen = lookup.unseen(ray.get([search.remote(store, part, wanted) for part in parts]))
    return unseen if unseen.novelty.training_examples else None


def read_tests(store: RunStore, part: str) -> list[Call]:
    """Return the explicit test requests in one file of examples that need a call."""
    return list(_calls(store, part, "test"))


def search_training(store: RunStore, part: str, wanted: Wanted) -> Found:
    """Look for what is wanted in the training examples of one file."""
    return wanted.found_in(_calls(store, part, "train"))


def _calls(store: RunStore, part: str, split: str) -> Iterator[Call]:
    """Yield a file's explicit examples of one split that need a call, a few rows at a time."""
    file = open_parquet(store, part)
    names = require_columns(file.schema_arrow.names, Example, store.address(part))
    columns = [*Call._fields, "split", *({"kind"} & set(names))]
    batches = file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns)
    while True:
        with reading(store, part):
            batch = next(batches, None)
        if batch is None:
            return
        for row in batch.to_pylist():
            explicit = row.pop("kind", "explicit") == "explicit"
            if row.pop("split") == split and row["tool"] and explicit:
                yield Call(**row)

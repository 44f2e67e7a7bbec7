"""The retrieve stage: candidate tools and demonstrations for each test query, on Ray Data.

Input: ``prepare/examples``. Output: ``retrieve/retrieved``, in the order of the example ids. The
candidates are the retriever's own: the gold tool may be missing, and the recall says how often;
with ``retrieve.candidates=oracle`` it never is. A query that needs no call is shown the nearest
tools too: it is a temptation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import ray

from ste_ray.core import layout
from ste_ray.core.records import Example, Retrieved
from ste_ray.errors import StageInputError
from ste_ray.retrieval.encoder import make_encoder
from ste_ray.retrieval.index import RetrievalIndex
from ste_ray.stages.base import StageContext
from ste_ray.store.tables import from_table, read_records, to_table, write_records

_QUERIES_PER_BATCH = 256
_ROWS_PER_PART = 20_000


def run(context: StageContext) -> dict[str, Any]:
    """Retrieve for all test queries; see the module's docstring."""
    config = context.config.retrieve
    encoder = make_encoder(config.encoder)
    examples = read_records(context.store, layout.EXAMPLES, Example)
    tests = _split(context, examples, "test")
    training = _split(context, examples, "train") if config.num_demonstrations else []
    context.progress(
        f"retrieve: {len(tests)} queries, {len(context.specs)} tools, {len(training)} training"
        f" queries, encoder {config.encoder!r}"
    )
    seed = context.config.seed
    index = RetrievalIndex(encoder, list(context.specs.values()), training, config, seed)
    results = _retrieve(index, tests)
    for start in range(0, len(results), _ROWS_PER_PART):
        path = layout.part(layout.RETRIEVED, start // _ROWS_PER_PART)
        write_records(context.store, path, results[start : start + _ROWS_PER_PART], Retrieved)
    if config.candidates == "oracle":
        context.notes.append(
            "the right tool was always among the candidates (retrieve.candidates=oracle): figures"
            " with candidates are those of a perfect retriever"
        )
    return _counts(tests, results)


def _split(context: StageContext, examples: Sequence[Example], split: str) -> list[Example]:
    found = [example for example in examples if example.split == split]
    if not found:
        raise StageInputError(
            f"there is no {split} example among the {len(examples)} in"
            f" {context.store.address(layout.EXAMPLES)!r}; explore more episodes or change"
            " prepare.test_fraction and prepare.validation_fraction, in another run"
            + (
                "; or set retrieve.num_demonstrations=0, or give 'ste-ray import tests'"
                " --demonstrations"
                if split == "train"
                else ""
            )
        )
    return sorted(found, key=lambda example: example.example_id)


def _retrieve(index: RetrievalIndex, tests: Sequence[Example]) -> list[Retrieved]:
    shared = ray.put(index)  # one copy a node, whose vectors all tasks read in place
    batches = [
        to_table(tests[start : start + _QUERIES_PER_BATCH], Example)
        for start in range(0, len(tests), _QUERIES_PER_BATCH)
    ]
    dataset = ray.data.from_arrow(batches).map_batches(
        _retrieve_batch,
        fn_args=([shared],),
        batch_format="pyarrow",
        batch_size=_QUERIES_PER_BATCH,
    )
    results = [
        found
        for batch in dataset.iter_batches(batch_format="pyarrow", batch_size=None)
        for found in from_table(batch, Retrieved)
    ]
    return sorted(results, key=lambda found: found.example_id)


def _retrieve_batch(batch: pa.Table, shared: Sequence[Any]) -> pa.Table:
    index: RetrievalIndex = ray.get(shared[0])
    queries = from_table(batch, Example)
    found = index.retrieve(queries)
    return to_table(found, Retrieved)


def _counts(tests: Sequence[Example], results: Sequence[Retrieved]) -> dict[str, Any]:
    gold = {example.example_id: example.tool for example in tests if example.needs_call}
    ranks = [
        [tool.key for tool in found.tools].index(gold[found.example_id])
        for found in results
        if gold.get(found.example_id) in {tool.key for tool in found.tools}
    ]
    scores = [item.score for found in results for item in found.demonstrations]
    return {
        "queries": len(results),
        "tools_per_query": max(len(found.tools) for found in results),
        "demonstrations_per_query": max(len(found.demonstrations) for found in results),
        "tool_recall": round(len(ranks) / len(gold), 4) if gold else None,
        "tool_recall_at_1": round(ranks.count(0) / len(gold), 4) if gold else None,
        "mean_tool_score": _mean([tool.score for found in results for tool in found.tools]),
        "mean_demonstration_score": _mean(scores),
    }


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0

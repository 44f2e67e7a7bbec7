"""Predictions and their scores, part by part: each part of predictions has one of scores.

Parts are scored by Ray tasks; what is decided later, by results or a judge, is added to the scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import ray

from ste_ray.core import layout
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.answer_judging import MAX_PLANTED, AnswerCase, case_of
from ste_ray.core.scoring.answers import score_answer
from ste_ray.core.scoring.columns import NEEDED, ColumnScorer, undecided_pairs
from ste_ray.core.scoring.equivalence import Pair
from ste_ray.core.scoring.results import CallPair, pair_to_execute
from ste_ray.core.scoring.scores import undecided_pair
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import StageInputError
from ste_ray.stages.evaluate.variants import known_specs, renames, under_own_names
from ste_ray.store.artifacts import RunStore
from ste_ray.store.tables import (
    from_table,
    iter_records,
    iter_tables,
    parquet_files,
    table_of,
    to_table,
    values_in,
    write_records,
    write_tables,
)


def score_all(store: RunStore, specs: Mapping[str, ToolSpec], seed: int) -> list[Pair]:
    """Score every part of the predictions in a task of its own; return what no rule decides.

    Raises:
        StageInputError: there are no predictions, or they cannot be scored.
    """
    parts = _parts(store)
    shared = ray.put(dict(specs))
    task = ray.remote(score_part)
    found = ray.get([task.remote(store, part, shared, seed) for part in parts])
    return [pair for pairs in found for pair in pairs]


def score_part(
    store: RunStore, part: str, specs: Mapping[str, ToolSpec], seed: int = 0
) -> list[Pair]:
    """Score one file of predictions and return what no rule decides.

    Safe to run twice: the same predictions give the same file.

    Args:
        store: the run.
        part: the file.
        specs: the tools of the run.
        seed: with which parameters were renamed in prompts, where they were.

    Raises:
        StageInputError: the file is damaged, or a prediction has no right call or an unknown tool.
    """
    pairs: list[Pair] = []
    scorer, source = ColumnScorer(known_specs(store, part, specs)), store.address(part)

    def scores() -> Iterator[pa.Table]:
        for table in iter_tables(store, part, Prediction):
            if renames(part):
                own = under_own_names(from_table(table, Prediction, source), specs, seed)
                table = to_table(list(own), Prediction)
            columns = values_in(table, NEEDED, Prediction)
            scored = scorer.score(columns, partial(_records, table, source))
            scored["answer"] = _answers(table, source, scored)
            pairs.extend(undecided_pairs(columns, scored))
            yield table_of(scored, Score)

    write_tables(store, layout.scores_of(part), scores(), Score)
    return pairs


def calls_to_execute(store: RunStore) -> list[CallPair]:
    """Return the calls whose arguments alone are wrong, each with the right one."""
    return [
        pair
        for part in _parts(store)
        for prediction, score in _scored(store, part)
        if (pair := pair_to_execute(prediction, score)) is not None
    ]


def still_undecided(store: RunStore) -> list[Pair]:
    """Return what a judge would have to compare, by the scores as they are now."""
    return [
        pair
        for part in _parts(store)
        for prediction, score in _scored(store, part)
        if (pair := undecided_pair(prediction, score)) is not None
    ]


class FinalAnswers(NamedTuple):
    """Final answers, each once: those that no rule decides, and some that rules call supported."""

    undecided: list[AnswerCase]
    supported: list[AnswerCase]


def final_answers(store: RunStore, specs: Mapping[str, ToolSpec]) -> FinalAnswers:
    """Return the final answers that a judge would have to look at, and those to measure it on."""
    undecided: dict[AnswerCase, None] = {}
    supported: dict[AnswerCase, None] = {}
    numbers: Counter[str] = Counter()
    for part in _parts(store):
        for prediction, score in _scored(store, part):
            case = case_of(prediction, score)
            if case.tool not in specs:
                continue
            if score.answer == "undecided":
                undecided[case] = None
            elif score.answer == "supported" and numbers[case.tool] < MAX_PLANTED:
                numbers[case.tool] += case not in supported
                supported[case] = None
    return FinalAnswers(list(undecided), list(supported))


def change_scores(store: RunStore, change: Callable[[Prediction, Score], Score]) -> None:
    """Write all scores anew, each as ``change`` returns it."""
    for part in _parts(store):
        changed = [change(prediction, score) for prediction, score in _scored(store, part)]
        write_records(store, layout.scores_of(part), changed, Score)


def _parts(store: RunStore) -> list[str]:
    parts = parquet_files(store, layout.PREDICTIONS)
    if not parts:
        raise StageInputError(
            f"there are no predictions at {store.address(layout.PREDICTIONS)!r}; "
            "run 'ste-ray infer' first"
        )
    return [*parts, *parquet_files(store, layout.VARIANTS)]


def _scored(store: RunStore, part: str) -> Iterator[tuple[Prediction, Score]]:
    """Yield the predictions of a part with their scores."""
    scores = iter_records(store, layout.scores_of(part), Score)
    yield from zip(iter_records(store, part, Prediction), scores, strict=True)


def _answers(table: pa.Table, source: str, scored: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return what final answers are worth, a row a prediction; most tables hold none."""
    (statuses,) = values_in(table, ["observation_status"], Prediction).values()
    answers = [""] * len(statuses)
    executed = [row for row, status in enumerate(statuses) if status == "ok"]
    for row, one in zip(executed, _records(table, source, executed), strict=True):
        answers[row] = score_answer(one, scored["predicted_arguments_json"][row])
    return answers


def _records(table: pa.Table, source: str, rows: list[int]) -> list[Prediction]:
    """Return the predictions at some rows of a table."""
    try:
        # With its type: of an empty list Arrow cannot tell it.
        return from_table(table.take(pa.array(rows, pa.int64())), Prediction, source)
    except StageInputError:
        from_table(table, Prediction, source)  # which names the row by its place in the table
        raise

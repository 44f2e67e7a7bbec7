"""A whole run to search and page through: joins the report's viewer to the run store.

Predictions and scores are held as Arrow columns. Of trials an index is held; the episodes of a page
are read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ste_ray.core import layout
from ste_ray.core.records import Episode, Judgment, LedgerEntry, Prediction, Score
from ste_ray.report.assemble import ReportData
from ste_ray.report.predictions import NO_TOOL_LABEL, view_prediction
from ste_ray.report.trials import RESULTS, result_of, view_trial
from ste_ray.report.viewer import Found
from ste_ray.stages.report.writing import load_report_data
from ste_ray.store.artifacts import RunStore
from ste_ray.store.schema import arrow_schema
from ste_ray.store.tables import from_table, iter_records, open_parquet, parquet_files, read_records

_OF = "of "
_MAX_CHARS = 100_000  # of one text; a browser must still show it


@dataclass(frozen=True)
class _TrialPlace:
    """Where a trial lies, and what it is searched by."""

    part: str
    episode: int  # place in the part
    trial: int
    tool: str
    result: str
    text: str


class StoredWholeRun:
    """Fulfils ``report.viewer.WholeRun`` for a run in a store, as it is when it is opened."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._read_part = lru_cache(maxsize=4)(self._uncached_part)

    def report(self) -> ReportData:
        """Return what the report shows now."""
        return load_report_data(self._store)

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Return the tools and settings to choose from."""
        table = self._predictions
        tools = set(table["tool"].to_pylist()) | {one.tool for one in self._trials}
        settings = dict.fromkeys(table["setting"].to_pylist())
        names = [*sorted(tools - {""}), *([NO_TOOL_LABEL] if "" in tools else [])]
        return {"tool": names, "setting": list(settings)}

    def find_predictions(
        self, *, setting: str, outcome: str, tool: str, text: str, start: int, limit: int
    ) -> Found:
        """Return predictions in order of setting and example."""
        table = self._predictions
        for name, value in (("setting", setting), ("outcome", outcome), ("tool", tool)):
            if value:
                # An empty filter lets all through, so that no tool goes by a name of its own.
                wanted = "" if name == "tool" and value == NO_TOOL_LABEL else value
                table = table.filter(pc.equal(table[name], wanted))
        for word in text.lower().split():
            table = table.filter(pc.match_substring(table["searched"], word))
        page = table.slice(start, limit)
        own = [name for name in page.column_names if name in Score.model_fields]
        others = [name for name in page.column_names if name.startswith(_OF)]
        scores = from_table(page.select(own), Score)
        texts = page.select(others).rename_columns([name.removeprefix(_OF) for name in others])
        predictions = from_table(texts, Prediction)
        views = [
            view_prediction(score, prediction, _MAX_CHARS)
            for score, prediction in zip(scores, predictions, strict=True)
        ]
        return Found(table.num_rows, predictions=views)

    def find_trials(self, *, result: str, tool: str, text: str, start: int, limit: int) -> Found:
        """Return trials, worst results first."""
        words = text.lower().split()
        found = [
            one
            for one in self._trials
            if (not result or one.result == result)
            and (not tool or one.tool == tool)
            and all(word in one.text for word in words)
        ]
        views = []
        for place in found[start : start + limit]:
            trial = self._read_part(place.part)[place.episode].trials[place.trial]
            judgment, entry = self._judged.get(trial.trial_id), self._entries.get(trial.trial_id)
            views.append(view_trial(trial, place.result, judgment, entry, _MAX_CHARS))
        return Found(len(found), trials=views)

    @cached_property
    def _predictions(self) -> pa.Table:
        """Scores, each with its prediction in columns named ``of …``, and what is searched."""
        tables = [
            _beside(
                open_parquet(self._store, part).read(),
                open_parquet(self._store, layout.predictions_of(part)).read(),
            )
            for part in parquet_files(self._store, layout.SCORES)
        ]
        if not tables:
            schemas = arrow_schema(Score), arrow_schema(Prediction)
            tables = [_beside(*(schema.empty_table() for schema in schemas))]
        return pa.concat_tables(tables).sort_by(
            [("setting", "ascending"), ("example_id", "ascending")]
        )

    @cached_property
    def _trials(self) -> list[_TrialPlace]:
        order = list(RESULTS)
        places = [
            _TrialPlace(
                part=part,
                episode=number,
                trial=index,
                tool=trial.tool,
                result=result_of(trial),
                text=f"{trial.query}\n{trial.final_answer}".lower(),
            )
            for part in parquet_files(self._store, layout.EPISODES)
            for number, episode in enumerate(iter_records(self._store, part, Episode))
            for index, trial in enumerate(episode.trials)
        ]
        return sorted(places, key=lambda one: order.index(one.result))

    @cached_property
    def _judged(self) -> dict[str, Judgment]:
        return {one.trial_id: one for one in self._records(layout.JUDGMENTS, Judgment)}

    @cached_property
    def _entries(self) -> dict[str, LedgerEntry]:
        entries = self._records(layout.LEDGER, LedgerEntry)
        return {one.trial_id: one for one in entries if one.origin == "explored"}

    def _records(self, folder: str, model: type[Any]) -> Iterator[Any]:
        for part in parquet_files(self._store, folder):
            yield from iter_records(self._store, part, model)

    def _uncached_part(self, part: str) -> list[Episode]:
        return read_records(self._store, part, Episode)


def _beside(scores: pa.Table, predictions: pa.Table) -> pa.Table:
    """Return a part's scores with its predictions, which stand in the same order."""
    texts = pc.binary_join_element_wise(predictions["query"], predictions["output_text"], "\n")
    for name in predictions.column_names:
        scores = scores.append_column(f"{_OF}{name}", predictions[name])
    return scores.append_column("searched", pc.utf8_lower(texts))

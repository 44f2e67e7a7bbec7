"""The summary of an update: its tests before and now, and its cost beside that of all anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ste_ray.core import layout
from ste_ray.core.records import Episode, Example, Judgment, LedgerEntry, Score, TrainRow
from ste_ray.core.updating.carrying import absent_group
from ste_ray.core.updating.summary import Cost, UpdateSummary, update_figures
from ste_ray.stages.base import StageContext
from ste_ray.stages.update.planning import LATER_STAGES, Update
from ste_ray.stages.update.tables import rows_of
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import read_manifest
from ste_ray.store.tables import iter_records, iter_tables, parquet_files

_FIRST_STAGES = ("explore", "prepare")


def summarise(context: StageContext, update: Update) -> UpdateSummary:
    """Return what a finished update came to."""
    store, groups = context.store, update.groups
    wanted = {absent_group(tool) for tool in groups.removed}
    absent = {
        one.example_id
        for one in iter_records(store, layout.EXAMPLES, Example)
        if one.group_id in wanted
    }
    before, now = (_scores(run, update.setting) for run in (update.source, store))
    below = [store.below(layout.UPDATE_EXPLORED), store.below(layout.UPDATE_PREPARED)]
    return UpdateSummary(
        source=update.source.uri,
        setting=update.setting,
        tools=groups,
        replay_fraction=context.config.prepare.mix.replay_fraction,
        figures=update_figures(before, now, groups, absent, seed=context.config.seed),
        cost=_cost(store, below, _seconds(store, (*_FIRST_STAGES, *LATER_STAGES), below)),
        anew=_cost(store, [store], _first_seconds(update.source), layout.ROWS),
    )


def _scores(run: RunStore, setting: str) -> list[Score]:
    return [one for one in iter_records(run, layout.SCORES, Score) if one.setting == setting]


def _cost(
    store: RunStore, runs: Sequence[RunStore], seconds: float, rows: str = layout.TRAINED_ROWS
) -> Cost:
    """Return the cost of the data that runs hold, each in its own tables."""
    replies, calls = _trials(runs[0])
    return Cost(
        model_requests=replies + _verdicts(runs[-1]) + _paraphrasings(runs[-1]),
        tool_calls=calls,
        trained_rows=_trained(store, rows),
        seconds=round(seconds, 3),
    )


def _trials(run: RunStore) -> tuple[int, int]:
    """Return the replies of models and the calls of tools in a run's trials."""
    replies = calls = 0
    for path in parquet_files(run, layout.EPISODES):
        for episode in iter_records(run, path, Episode):
            for trial in episode.trials:
                replies += trial.replies
                calls += sum(turn.kind == "tool_call" for turn in trial.turns)
    return replies, calls


def _verdicts(run: RunStore) -> int:
    parts = parquet_files(run, layout.JUDGMENTS)
    return sum(one.num_replies for path in parts for one in iter_records(run, path, Judgment))


def _paraphrasings(run: RunStore) -> int:
    """Return how many requests were paraphrased: all wordings of one come in one reply."""
    found = set[str]()
    for path in parquet_files(run, layout.LEDGER):
        for table in iter_tables(run, path, LedgerEntry):
            rows = rows_of(table, ["trial_id", "origin"])
            found.update(row["trial_id"] for row in rows if row["origin"] == "paraphrase")
    return len(found)


def _trained(run: RunStore, folder: str) -> int:
    return sum(
        row["split"] == "train"
        for path in parquet_files(run, folder)
        for table in iter_tables(run, path, TrainRow)
        for row in rows_of(table, ["split"])
    )


def _seconds(store: RunStore, stages: Iterable[str], below: Sequence[RunStore] = ()) -> float:
    """Return the wall time of the stages that ran in a run, and in those below it."""
    found = [read_manifest(store, stage) for stage in stages]
    found += [read_manifest(run, stage) for run in below for stage in _FIRST_STAGES]
    return sum(one.seconds for one in found if one is not None)


def _first_seconds(source: RunStore) -> float:
    """Return the wall time of the first run in the line of updates."""
    if source.exists(layout.UPDATE_SUMMARY):
        return UpdateSummary.model_validate(source.read_json(layout.UPDATE_SUMMARY)).anew.seconds
    return _seconds(source, (*_FIRST_STAGES, *LATER_STAGES))

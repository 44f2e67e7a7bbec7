"""Two runs beside each other, on the test queries that both have answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from ste_ray.core import layout
from ste_ray.core.differences import flattened
from ste_ray.core.inferring.reading import as_text
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.evaluation import Difference, EvaluationSummary
from ste_ray.core.scoring.kinds import summarise_kinds
from ste_ray.core.scoring.restraint import Restraint, summarise_restraint
from ste_ray.core.scoring.statistics import Proportion
from ste_ray.core.scoring.summary import METRICS, Figures, compare_settings, figures_of
from ste_ray.core.scoring.tokens import TokenUse, token_use
from ste_ray.core.stages import STAGES
from ste_ray.core.texts.cutting import cut_text
from ste_ray.errors import StageInputError
from ste_ray.report.kinds import KIND_LABELS
from ste_ray.report.overview import utc_time
from ste_ray.report.predictions import MAX_CHARS, describe_failure
from ste_ray.report.reading import RunReader
from ste_ray.report.view import View

MAX_CHANGED = 120
MAX_TOOLS = 500
Change = Literal["lost", "gained", "other"]
_CHANGES: tuple[Change, ...] = ("lost", "gained", "other")


class ToolChange(View):
    """Correct calls of one tool in two runs, of ``n`` queries that both answered."""

    tool: str
    n: int
    first: int
    second: int
    gained: int
    lost: int


class ChangedPrediction(View):
    """A query that came out otherwise in the second run."""

    change: Literal["lost", "gained", "other"]
    tool: str  # empty: no call is right
    query: str
    gold_arguments: str
    first_outcome: str
    second_outcome: str
    first_problem: str
    second_problem: str
    first_text: str
    second_text: str


class ConfigDifference(View):
    """A key of a stage's configuration that two runs have otherwise."""

    stage: str
    key: str
    first: str
    second: str


class KindChange(View):
    """How often replies to one kind of requests are right in both runs."""

    kind: str
    first: Proportion
    second: Proportion


class ComparisonView(View):
    """Two runs beside each other, on the queries that both have answered."""

    first: str
    second: str
    first_setting: str
    second_setting: str
    created_at: str
    n: int
    only_first: int  # queries that only the first run has
    only_second: int
    first_figures: Figures
    second_figures: Figures
    differences: tuple[Difference, ...]
    tools: tuple[ToolChange, ...]
    changed: tuple[ChangedPrediction, ...]
    config: tuple[ConfigDifference, ...]
    first_restraint: Restraint | None = None  # None: no common query needs no call
    second_restraint: Restraint | None = None
    kinds: tuple[KindChange, ...] = ()  # empty: all common queries are explicit
    tokens: TokenUse | None = None  # None: known of no common query
    tools_omitted: int = 0  # further ones, which lost less
    changed_omitted: int = 0  # further queries that changed


def compare_runs(
    first: RunReader, second: RunReader, settings: tuple[str, str], seed: int, now: float
) -> ComparisonView:
    """Compare a setting of one run with one of another.

    Args:
        first: the run to compare with.
        second: the run that is compared.
        settings: of each; empty: the last one of its summary.
        seed: of the bootstrap.
        now: in seconds since 1970.

    Raises:
        StageInputError: a run is not evaluated, lacks the setting, or they share no test query.
    """
    chosen = [_setting(run, wanted) for run, wanted in zip((first, second), settings, strict=True)]
    runs = list(zip((first, second), chosen, strict=True))
    all_scores = [_scores(run, setting) for run, setting in runs]
    common = sorted(all_scores[0].keys() & all_scores[1].keys())
    if not common:
        raise StageInputError(
            f"{first.uri!r} and {second.uri!r} have no test query in common, so nothing can be"
            " paired; compare runs that were made from the same prepared data or test set"
        )
    before = [all_scores[0][key] for key in common]
    after = [all_scores[1][key] for key in common]
    names = [f"{run.uri} {setting}" for run, setting in runs]
    tools = list(_tools(before, after))
    changed, changed_omitted = _changed(runs, before, after)
    return ComparisonView(
        first=first.uri,
        second=second.uri,
        first_setting=chosen[0],
        second_setting=chosen[1],
        created_at=utc_time(now),
        n=len(common),
        only_first=len(all_scores[0]) - len(common),
        only_second=len(all_scores[1]) - len(common),
        first_figures=figures_of(before, seed=seed),
        second_figures=figures_of(after, seed=seed),
        differences=tuple(
            Difference(
                first=names[0],
                second=names[1],
                metric=metric,
                comparison=compare_settings(before, after, metric, seed=seed),
            )
            for metric in METRICS
            if any(score.in_headline for score in before)
        ),
        tools=tuple(tools[:MAX_TOOLS]),
        tools_omitted=max(0, len(tools) - MAX_TOOLS),
        changed=changed,
        changed_omitted=changed_omitted,
        config=tuple(_config_differences(first, second)),
        first_restraint=summarise_restraint(before, seed=seed),
        second_restraint=summarise_restraint(after, seed=seed),
        kinds=_kinds(before, after, seed),
        tokens=token_use(dict(zip(("first", "second"), (before, after), strict=True)), seed=seed),
    )


def _kinds(before: Sequence[Score], after: Sequence[Score], seed: int) -> tuple[KindChange, ...]:
    """Return each kind of requests in both runs; nothing where all are explicit."""
    first, second = (summarise_kinds(scores, seed=seed) for scores in (before, after))
    other = {one.kind: one for one in second}
    return tuple(
        KindChange(kind=KIND_LABELS[one.kind], first=one.right, second=other[one.kind].right)
        for one in first
        if one.kind in other
    )


def _setting(run: RunReader, wanted: str) -> str:
    summary = run.json(layout.EVALUATION_SUMMARY)
    if summary is None:
        raise StageInputError(f"{run.uri!r} is not evaluated; run 'ste-ray evaluate --run URI'")
    known = [one.setting for one in EvaluationSummary.model_validate(summary).settings]
    if wanted and wanted not in known:
        raise StageInputError(
            f"{run.uri!r} has no setting {wanted!r}, only {', '.join(known)}; give one of those"
        )
    return wanted or known[-1]


def _scores(run: RunReader, setting: str) -> dict[str, Score]:
    scores: Sequence[Score] = run.records(layout.SCORES, Score)
    return {score.example_id: score for score in scores if score.setting == setting}


def _tools(before: Sequence[Score], after: Sequence[Score]) -> Iterator[ToolChange]:
    """Yield a row a tool, those that lost most first."""
    rows: dict[str, list[int]] = {}
    for one, other in zip(before, after, strict=True):
        if not one.in_headline:
            continue
        row = rows.setdefault(one.tool, [0, 0, 0, 0, 0])
        good, still_good = one.outcome == "correct", other.outcome == "correct"
        for place, counts in enumerate(
            (True, good, still_good, still_good and not good, good and not still_good)
        ):
            row[place] += counts
    for tool in sorted(rows, key=lambda name: (rows[name][2] - rows[name][1], name)):
        n, first, second, gained, lost = rows[tool]
        yield ToolChange(tool=tool, n=n, first=first, second=second, gained=gained, lost=lost)


def _changed(
    runs: Sequence[tuple[RunReader, str]], before: Sequence[Score], after: Sequence[Score]
) -> tuple[tuple[ChangedPrediction, ...], int]:
    """Return queries whose outcome changed, and how many more there are.

    Lost ones come first, then gained ones, then others.
    """
    changed = [
        (_change(one, other), one, other)
        for one, other in zip(before, after, strict=True)
        if one.outcome != other.outcome
    ]
    changed.sort(key=lambda item: (_CHANGES.index(item[0]), item[1].example_id))
    chosen = changed[:MAX_CHANGED]
    wanted = {one.example_id for _, one, _ in chosen}
    first, second = (_texts(run, setting, wanted) for run, setting in runs)
    shown = tuple(
        ChangedPrediction(
            change=change,
            tool=one.tool,
            query=cut_text(first[one.example_id].query, MAX_CHARS),
            gold_arguments=cut_text(first[one.example_id].arguments_json, MAX_CHARS),
            first_outcome=one.outcome,
            second_outcome=other.outcome,
            first_problem=cut_text(describe_failure(one), 300),
            second_problem=cut_text(describe_failure(other), 300),
            first_text=cut_text(as_text(first[one.example_id]), MAX_CHARS),
            second_text=cut_text(as_text(second[one.example_id]), MAX_CHARS),
        )
        for change, one, other in chosen
        if one.example_id in first and one.example_id in second
    )
    return shown, len(changed) - len(shown)


def _change(before: Score, after: Score) -> Change:
    if before.outcome == "correct":
        return "lost"
    return "gained" if after.outcome == "correct" else "other"


def _texts(run: RunReader, setting: str, wanted: set[str]) -> dict[str, Prediction]:
    predictions: Sequence[Prediction] = run.records(layout.PREDICTIONS, Prediction)
    return {
        one.example_id: one
        for one in predictions
        if one.setting == setting and one.example_id in wanted
    }


def _config_differences(first: RunReader, second: RunReader) -> Iterator[ConfigDifference]:
    """Yield what the manifests of the two runs say otherwise, key by key."""
    for stage in STAGES:
        manifests = [run.manifest(stage) or {} for run in (first, second)]
        flat = [flattened(manifest.get("config") or {}) for manifest in manifests]
        for key in sorted(flat[0].keys() | flat[1].keys()):
            values = [str(one.get(key, "–")) for one in flat]
            if values[0] != values[1]:
                yield ConfigDifference(
                    stage=stage,
                    key=key,
                    first=cut_text(values[0], 200),
                    second=cut_text(values[1], 200),
                )

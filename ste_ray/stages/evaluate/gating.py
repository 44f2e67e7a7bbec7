"""Joins the gate to the store: outcomes of an evaluated run, and baselines in files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ste_ray.core import layout
from ste_ray.core.records import Prediction, Score, TestDialog, canonical_json, fingerprint
from ste_ray.core.scoring.baseline import (
    Answered,
    Baseline,
    Request,
    make_baseline,
    parse_baseline,
    request_ids,
)
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.core.scoring.gate_figures import GROUP_FIGURES, Figure
from ste_ray.core.scoring.statistics import Proportion
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.errors import StageInputError
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import manifest_fingerprint, read_manifest
from ste_ray.store.single_files import read_single_file
from ste_ray.store.some_columns import iter_columns
from ste_ray.store.tables import iter_records, parquet_files

_OF_SCORES = ("example_id", "setting", "tool", "outcome", "decided_by", "kind", "near_tool")
_OF_PREDICTIONS = ("example_id", "query", "arguments_json", "accepted_json", "failed_calls")


def is_evaluated(store: RunStore) -> bool:
    """Whether a run holds the evaluation of the predictions that it holds."""
    manifest, infer = read_manifest(store, "evaluate"), read_manifest(store, "infer")
    return (
        manifest is not None
        and infer is not None
        and manifest.inputs.get("infer") == manifest_fingerprint(infer)
        and store.exists(layout.EVALUATION_SUMMARY)
    )


def read_outcomes(store: RunStore) -> Baseline:
    """Return the outcomes of all settings of an evaluated run, in the order of its summary.

    Raises:
        StageInputError: it is not evaluated, its evaluation is of other predictions, or its tables
            cannot be used.
    """
    manifest = read_manifest(store, "evaluate")
    if manifest is None or not store.exists(layout.EVALUATION_SUMMARY):
        raise StageInputError(
            f"{store.uri!r} is not evaluated; run 'ste-ray evaluate --run URI' on it first"
        )
    if not is_evaluated(store):
        raise StageInputError(
            f"the evaluation in {store.uri!r} is not of the predictions that are there now; delete "
            f"{store.address('evaluate')!r} and run 'ste-ray evaluate --run URI' on it first"
        )
    summary = EvaluationSummary.model_validate(store.read_json(layout.EVALUATION_SUMMARY))
    dialogs = _dialogs(store)
    by_judge: Counter[str] = Counter()
    requests: dict[str, list[Request]] = {one.setting: [] for one in summary.settings}
    scored: dict[str, dict[str, Answered]] = {setting: {} for setting in requests}
    for part in parquet_files(store, layout.SCORES):
        asked = iter_columns(store, layout.predictions_of(part), _OF_PREDICTIONS, Prediction)
        scores = iter_columns(store, part, _OF_SCORES, Score)
        for score, prediction in zip(scores, asked, strict=True):
            key, setting = score["example_id"], score["setting"]
            if key != prediction.pop("example_id") or setting not in requests:
                raise StageInputError(
                    f"{store.address(part)!r} does not belong to the run's predictions; delete "
                    f"{store.address('evaluate')!r} and evaluate anew"
                )
            tool = score["tool"]
            history = prediction.pop("failed_calls")
            failed = canonical_json(list(history)) if history else ""
            request = Request(key, tool, **prediction, dialog=dialogs.get(key, ""), failed=failed)
            requests[setting].append(request)
            near = "" if tool else score["near_tool"]
            scored[setting][key] = Answered(tool, score["outcome"], score["kind"], near)
            by_judge[setting] += score["decided_by"] == "judge"
    outcomes = {}
    for setting, asked_of in requests.items():
        ids = request_ids(asked_of)
        outcomes[setting] = {ids[key]: one for key, one in scored[setting].items()}
    return make_baseline(outcomes, by_judge, manifest.code_version)


def read_unseen(store: RunStore) -> dict[str, dict[Figure, Proportion]]:
    """Return the figures of the requests that are unseen in training, by setting.

    A setting of which that is not known is left out.
    """
    summary = EvaluationSummary.model_validate(store.read_json(layout.EVALUATION_SUMMARY))
    return {
        one.setting: {figure: getattr(one.unseen, figure) for figure in GROUP_FIGURES["unseen"]}
        for one in summary.settings
        if one.unseen is not None
    }


def read_baseline(source: str) -> Baseline:
    """Return the baseline in a file (``….json``), or the outcomes of a run.

    Raises:
        ConfigError: the address cannot be used.
        StageInputError: nothing is there, or it is no baseline and no evaluated run.
    """
    if not source.endswith(".json"):
        return read_outcomes(open_store(source))
    try:
        data = read_single_file(source)
    except FileNotFoundError:
        raise StageInputError(
            f"there is no baseline at {source!r}; make it with "
            "'ste-ray evaluate --run URI --save-baseline FILE', or give a run"
        ) from None
    except OSError as error:
        raise StageInputError(
            f"the baseline {source!r} cannot be read ({error.strerror}); give a file that can"
        ) from None
    return parse_baseline(data, source)


def chosen_settings(wanted: Sequence[str], now: Baseline, run: str) -> tuple[str, ...]:
    """Return the settings to look at: those wanted, else the last one of the run.

    Raises:
        StageInputError: the run lacks one.
    """
    return _known(wanted or now.settings[-1:], now, f"the run {run!r}")


def require_settings(settings: Sequence[str], baseline: Baseline, source: str) -> None:
    """Check that a baseline has settings.

    Raises:
        StageInputError: it lacks one.
    """
    _known(settings, baseline, f"the baseline {source!r}")


def _known(wanted: Sequence[str], found: Baseline, where: str) -> tuple[str, ...]:
    for setting in wanted:
        if setting not in found.settings:
            raise StageInputError(
                f"{where} has no setting {setting!r}{did_you_mean(setting, found.settings)}, only "
                f"{', '.join(found.settings)}; give --setting one that both have"
            )
    return tuple(dict.fromkeys(wanted))


def _dialogs(store: RunStore) -> dict[str, str]:
    """Return a digest of the messages that a test set brought, by the id of the example."""
    return {
        one.example_id: fingerprint([message.digest for message in one.messages])
        for part in parquet_files(store, layout.DIALOGS)
        for one in iter_records(store, part, TestDialog)
    }

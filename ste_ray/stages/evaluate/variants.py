"""Answers to requests that were asked in other ways: what their scorer must know of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ste_ray.core import layout
from ste_ray.core.inferring.perturbing import (
    perturbation_of,
    renamed_parameters,
    restored_arguments,
)
from ste_ray.core.inferring.reading import read_prediction
from ste_ray.core.preparing.formatting import call_text
from ste_ray.core.records import Prediction, Score, canonical_json
from ste_ray.core.replies.parsing import ToolCall
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import read_manifest
from ste_ray.store.tables import iter_records, parquet_files


def read_variants(store: RunStore) -> dict[str, list[Score]]:
    """Return the scores of requests asked anew, by the name of the setting with its variant."""
    found: dict[str, list[Score]] = defaultdict(list)
    for part in parquet_files(store, layout.VARIANT_SCORES):
        for score in iter_records(store, part, Score):
            found[score.setting].append(score)
    return found


def mean_left_out(store: RunStore, name: str) -> float:
    """Return how many tools a request had left out in a variant, in the mean."""
    counts: Mapping[str, Any] = store.read_json(layout.predictions_marker(name.replace("/", "-")))
    num_queries: int = counts["queries"]
    return float(counts["tools_left_out"]) / max(1, num_queries)


def known_specs(
    store: RunStore, part: str, specs: Mapping[str, ToolSpec]
) -> Mapping[str, ToolSpec]:
    """Return specifications in which every tool that prompts of a part showed has one.

    A call of such a tool is one of a wrong tool, not of one that does not exist.
    """
    if not part.startswith(f"{layout.VARIANTS}/") or not specs:
        return specs
    names = {name for one in iter_records(store, part, Prediction) for name in one.candidates}
    some = next(iter(specs.values()))
    return {name: some.changed(name=name) for name in names} | dict(specs)


def seed_of_answers(store: RunStore, otherwise: int) -> int:
    """Return the seed that the answers of a run were asked with, if it tells."""
    manifest = read_manifest(store, "infer")
    return otherwise if manifest is None or manifest.seed is None else manifest.seed


def under_own_names(
    predictions: Iterable[Prediction], specs: Mapping[str, ToolSpec], seed: int
) -> Iterator[Prediction]:
    """Yield predictions with their arguments under the tools' own names of parameters.

    What was no call stays as it is.

    Args:
        predictions: of a variant that renamed parameters.
        specs: the tools of the run.
        seed: that they were renamed with.
    """
    names = {name: renamed_parameters(spec, seed) for name, spec in specs.items()}
    for one in predictions:
        found = read_prediction(one, specs)
        if one.error or not isinstance(found, ToolCall) or not names.get(found.tool):
            yield one
            continue
        text = canonical_json(restored_arguments(found.arguments, names[found.tool]))
        if one.native:
            calls = (one.calls[0].model_copy(update={"arguments_text": text}),)
            yield one.model_copy(update={"calls": calls})
        else:
            yield one.model_copy(update={"output_text": call_text(found.tool, text)})


def renames(part: str) -> bool:
    """Whether a part of predictions is of a variant that renamed parameters."""
    return perturbation_of(part.split("/")[-2]) == "rename_parameters"

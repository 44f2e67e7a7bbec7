"""Answers to requests that were asked in other ways: what their scorer must know of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from ste_ray.store.some_columns import iter_columns
from ste_ray.store.tables import parquet_files

# What figures of variants are made of; the texts of a score are not among it.
_COUNTED = (
    *("example_id", "setting", "tool", "outcome", "num_gold_arguments", "kind", "near_tool"),
    *("predicted_tool", "failure_kind", "prompt_tokens"),
)


class VariantScores(Mapping[str, Sequence[Score]]):
    """The scores of requests asked anew, by the name of the setting with its variant.

    They are read when they are asked for, each time, and without what no figure needs: the fields
    that are not read have their defaults. So those of one variant are in memory at a time.

    Args:
        store: the run.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._parts: dict[str, list[str]] = defaultdict(list)
        for part in parquet_files(store, layout.VARIANT_SCORES):
            first = next(iter_columns(store, part, ("setting",), Score), None)
            if first is not None:
                self._parts[first["setting"]].append(part)

    def __getitem__(self, name: str) -> Sequence[Score]:
        """Read the scores of a variant.

        Raises:
            KeyError: there is none of this name.
        """
        if name not in self._parts:
            raise KeyError(name)
        return [
            Score.model_construct(**row)
            for part in self._parts[name]
            for row in iter_columns(self._store, part, _COUNTED, Score)
        ]

    def __iter__(self) -> Iterator[str]:
        """Yield the names, in order of the files."""
        return iter(self._parts)

    def __len__(self) -> int:
        """Return how many variants there are."""
        return len(self._parts)


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
    rows = iter_columns(store, part, ("candidates",), Prediction)
    names = {name for row in rows for name in row["candidates"]}
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

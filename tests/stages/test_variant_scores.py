"""Scores and candidates of variants are read without what nobody needs of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ste_ray.core import layout
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.evaluation import summarise_evaluation
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.stages.evaluate.variants import VariantScores, known_specs
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.tables import write_records

NAMES = ("base/icl.repeat-2", "base/icl.tools-5", "base/icl.add_lookalike")


def refused(*args: Any, **fields: Any) -> None:
    raise AssertionError("a whole record was made")


def scores(setting: str, right: int) -> list[Score]:
    return [
        Score(
            example_id=str(at), setting=setting, tool=f"tool {at % 3}", num_gold_arguments=1,
            outcome="correct" if at < right else "wrong_arguments", prompt_tokens=at + 1,
            predicted_arguments_json='{"a":1}', detail="long",
        )
        for at in range(12)
    ]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = open_store(str(tmp_path / "run"))
    for right, name in enumerate(NAMES, start=4):
        part = layout.part(layout.predictions(name.replace("/", "-")), 0)
        write_records(store, layout.scores_of(part), scores(name, right), Score)
    return store


def test_scores_of_variants_are_read_by_name_and_without_their_texts(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {name: scores(name, right) for right, name in enumerate(NAMES, start=4)}
    monkeypatch.setattr(Score, "model_validate", refused)
    found = VariantScores(store)
    assert sorted(found) == sorted(NAMES)
    assert len(found) == 3
    assert {one.predicted_arguments_json for one in found[NAMES[0]]} == {""}
    assert found[NAMES[0]] is not found[NAMES[0]]  # nothing of it is kept
    with pytest.raises(KeyError):
        found["base/icl"]

    own = [scores("base/icl", 8)]
    one, other = (
        summarise_evaluation(own, seed=1, num_resamples=20, variants=variants)
        for variants in (found, whole)
    )
    assert one.repeats == other.repeats != ()
    assert one.sweep == other.sweep != ()
    assert one.robustness == other.robustness != ()


def test_the_tools_that_prompts_showed_are_read_alone(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = layout.part(layout.predictions("base-icl.tools-5"), 0)
    shown = [("a", "b"), ("b", "c")]
    predictions = [
        Prediction(
            example_id=str(at), setting="base/icl.tools-5", tool="a", query="q",
            arguments_json="{}", candidates=names, output_text="",
        )
        for at, names in enumerate(shown)
    ]  # fmt: skip
    write_records(store, part, predictions, Prediction)
    executor = {"kind": "python", "target": "m:f"}
    spec = ToolSpec(name="a", description="A.", parameters={}, executor=executor)
    monkeypatch.setattr(Prediction, "model_validate", refused)
    found = known_specs(store, part, {"a": spec})
    assert sorted(found) == ["a", "b", "c"]
    assert found["a"] is spec

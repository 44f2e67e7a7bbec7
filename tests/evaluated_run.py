"""A run that has been evaluated, written without running anything: outcomes of chosen requests."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import count

from ste_ray.core import layout
from ste_ray.core.records import Prediction, Score, canonical_json
from ste_ray.core.scoring.evaluation import summarise_evaluation
from ste_ray.store.artifacts import RunStore
from ste_ray.store.manifest import declare_stage, manifest_fingerprint
from ste_ray.store.tables import write_records

# What was asked: the right tool (empty: none), a number that makes the request, and its outcome.
Asked = tuple[str, int, str]


def write_evaluated(
    store: RunStore, settings: Mapping[str, Sequence[Asked]], ids: str = "", by_judge: int = 0
) -> None:
    """Write predictions, scores, their summary and the manifests of both stages.

    Args:
        store: the run.
        settings: what was asked in each setting.
        ids: the beginning of the examples' ids.
        by_judge: so many of the first outcomes of each setting were a judge's.
    """
    groups = []
    for setting, asked in settings.items():
        predictions, scores = [], []
        for (tool, number, outcome), place in zip(asked, count(), strict=False):
            key = f"{ids}{place:05d}"
            arguments = canonical_json({"n": number}) if tool else ""
            predictions.append(
                Prediction(
                    example_id=key,
                    setting=setting,
                    tool=tool,
                    query=f"{tool or 'Chat'} {number}?",
                    arguments_json=arguments,
                    candidates=(tool,),
                    output_text="…",
                )
            )
            decided = "judge" if place < by_judge else "rules"
            scores.append(
                Score.model_validate(
                    {
                        "example_id": key,
                        "setting": setting,
                        "tool": tool,
                        "outcome": outcome,
                        "num_gold_arguments": int(bool(tool)),
                        "decided_by": decided,
                    }
                )
            )
        half = len(asked) // 2
        for number, place in enumerate((slice(0, half), slice(half, None))):
            part = layout.part(layout.predictions(setting.replace("/", "-")), number)
            write_records(store, part, predictions[place], Prediction)
            write_records(store, layout.scores_of(part), scores[place], Score)
        groups.append(scores)
    summary = summarise_evaluation(groups, seed=0, num_resamples=10)
    store.write_json(layout.EVALUATION_SUMMARY, summary.model_dump(mode="json"))
    infer = declare_stage(store, "infer", {}, {"predictions": len(groups)}, started_at=time.time())
    declare_stage(
        store,
        "evaluate",
        {},
        {},
        started_at=time.time(),
        inputs={"infer": manifest_fingerprint(infer)},
    )

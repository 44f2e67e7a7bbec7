"""Predictions scored a second: by the strict rules, and by those of the published study."""

from __future__ import annotations

import gc
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from tables import Row

from ste_ray.core.records import Prediction
from ste_ray.core.scoring.columns import NEEDED, ColumnScorer
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.core.scoring.study import study_report
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.resources import resource_folder
from ste_ray.tools.spec.files import read_tool_files

GOAL_STRICT, GOAL_STUDY, GOAL_GROWTH = 60_000, 10_000, 32
_NUMBER, _MILLION, _FEW = 100_000, 1_000_000, 10_000
_TABLE = 1_024  # predictions, as many as a row group has
_WORDS = ("Lisbon", "Oslo", "2024-03-05", "km", "a longer text of some words", "EUR", "LHR")


def measure(folder: Path) -> list[Row]:
    """Score the same predictions by both rules."""
    shipped = resource_folder("tool_metadata")
    specs = dict(read_tool_files(("builtin",), (), shipped=shipped).specs)
    predictions = _predictions(specs)
    rows = [
        *_strict_rows("all distinct, half of them wrong", predictions, specs),
        *_strict_rows("as of a good model, 9 of 10 right", _predictions(specs, 0.1), specs),
        _memory_row(specs),
    ]
    items: dict[str, list[dict[str, str]]] = {name: [] for name in specs}
    for one in predictions:
        items[one.tool].append(
            {
                "action": one.tool,
                "action_input": one.arguments_json,
                "model_output": one.output_text,
            }
        )
    study = _rate(lambda: study_report(items, "rules", list(specs)))
    return [
        *rows,
        Row(
            "rules of the study (a fifth of the names made up)",
            f"{study:,.0f} predictions/s",
            f"≥ {GOAL_STUDY:,}",
            study >= GOAL_STUDY,
        ),
    ]


def _strict_rows(what: str, predictions: list[Prediction], specs: dict[str, ToolSpec]) -> list[Row]:
    """Score by columns, as the stage does, and beside it record by record, in turns."""
    columns = columns_of(predictions)

    def by_record() -> None:  # scores are written as they come, not kept
        Counter(score_prediction(one, specs).outcome for one in predictions)

    def by_column() -> None:
        scorer = ColumnScorer(specs)
        for first in range(0, _NUMBER, _TABLE):
            score_table(scorer, predictions, columns, first)

    rates = [(_rate(by_record, 1), _rate(by_column, 1)) for _ in range(3)]
    record, column = (max(rate) for rate in zip(*rates, strict=True))
    return [
        Row(f"strict rules by record, {what}", f"{record:,.0f} predictions/s"),
        Row(
            f"strict rules by column, {what}",
            f"{column:,.0f} predictions/s ({column / record:.1f} times)",
            f"≥ {GOAL_STRICT:,}",
            column >= GOAL_STRICT,
        ),
    ]


def columns_of(predictions: list[Prediction]) -> dict[str, list[Any]]:
    """Return predictions in the text form as the columns that a worker reads."""
    return {name: [getattr(one, name) for one in predictions] for name in NEEDED}


def score_table(
    scorer: ColumnScorer,
    predictions: list[Prediction],
    columns: dict[str, list[Any]],
    first: int,
) -> None:
    """Score as many predictions as a table has."""
    part = {name: values[first : first + _TABLE] for name, values in columns.items()}
    scorer.score(part, lambda rows: [predictions[first + row] for row in rows])


def _memory_row(specs: dict[str, ToolSpec]) -> Row:
    """Score a million distinct predictions with one scorer: what more than the first it takes."""
    scorer, process, after = ColumnScorer(specs), psutil.Process(), []
    # A few at a time: what the predictions themselves take is not to be seen here.
    for seed in range(_MILLION // _FEW):
        predictions = _predictions(specs, seed=seed, number=_FEW)
        columns = columns_of(predictions)
        for first in range(0, _FEW, _TABLE):
            score_table(scorer, predictions, columns, first)
        del predictions, columns
        gc.collect()
        after.append(process.memory_info().rss)
    begun = _NUMBER // _FEW
    growth = (max(after[begun:]) - after[begun - 1]) / 2**20
    return Row(
        "memory that 900,000 further predictions add to the first 100,000",
        f"{growth:.0f} MiB",
        f"≤ {GOAL_GROWTH} MiB",
        growth <= GOAL_GROWTH,
    )


def _rate(score: Callable[[], object], times: int = 3) -> float:
    """Predictions a CPU-second; the best of some."""
    rates = []
    gc.freeze()  # the predictions are there before, as those that a worker has read are not
    for _ in range(times):
        started = time.process_time()
        score()
        rates.append(_NUMBER / (time.process_time() - started))
    gc.unfreeze()
    return max(rates)


def _predictions(
    specs: dict[str, ToolSpec], wrong: float = 0.5, seed: int = 0, number: int = _NUMBER
) -> list[Prediction]:
    """Calls with the arguments of the shipped tools, a share wrong, no two with the same arguments.

    With half of them wrong a fifth of the names is made up, else a fiftieth.
    """
    rng = random.Random(seed)
    names = sorted(specs)
    made_up = [f"{name[:-1]}{rng.choice('xyz')}{number}" for number, name in enumerate(names)]
    found = []
    for place in range(number):
        tool = rng.choice(names)
        properties = list(specs[tool].parameters.get("properties", {}))
        gold = {name: _value(rng) for name in properties}
        if properties:
            gold[properties[0]] = f"{rng.choice(_WORDS)} {seed}/{place}"
        call = dict(gold)
        if properties and rng.random() < wrong:
            call[rng.choice(properties)] = _value(rng)
        name = rng.choice(made_up) if rng.random() < (0.2 if wrong == 0.5 else 0.02) else tool
        thought = "Thought: I look at what is asked for and call the tool.\n" * (place % 2)
        text = f"{thought}Action: {name}\nAction Input: {json.dumps(call)}"
        if place % 20 == 0:
            text = "Final Answer: I cannot do that."
        found.append(
            Prediction(
                example_id=f"e{place}",
                setting="s",
                tool=tool,
                query="",
                arguments_json=json.dumps(gold),
                candidates=(),
                output_text=text,
            )
        )
    return found


def _value(rng: random.Random) -> object:
    return rng.choice((rng.randrange(1000), rng.choice(_WORDS), round(rng.random(), 3)))

"""A file of predictions is scored by columns into what the scorer of single records decides."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ste_ray.core import layout
from ste_ray.core.records import Prediction, Score
from ste_ray.core.scoring.scores import score_prediction, undecided_pair
from ste_ray.errors import StageInputError
from ste_ray.stages.evaluate.parts import score_part
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.tables import encode_table, read_records, to_table, write_records
from tests.report import synthetic

PART = "infer/predictions/s/part-0.parquet"


@pytest.fixture(scope="module")
def predictions() -> list[Prediction]:
    found: list[Prediction] = synthetic.tables()[layout.PREDICTIONS]
    return found


def scored(store: RunStore, predictions: list[Prediction]) -> None:
    """Score the file, and compare with the scores of records."""
    specs = synthetic.specs()
    pairs = score_part(store, PART, specs)
    expected = [score_prediction(one, specs) for one in predictions]
    assert read_records(store, layout.scores_of(PART), Score) == expected
    found = [undecided_pair(one, score) for one, score in zip(predictions, expected, strict=True)]
    assert pairs == [pair for pair in found if pair is not None]
    assert {one.outcome for one in expected} > {"correct", "wrong_arguments", "malformed"}


def test_scores_are_those_of_records(tmp_path: Path, predictions: list[Prediction]) -> None:
    store = open_store(str(tmp_path / "run"))
    many = predictions * 3  # more than one row group
    write_records(store, PART, many, Prediction)
    scored(store, many)


def test_a_file_of_an_earlier_version_lacks_columns(
    tmp_path: Path, predictions: list[Prediction]
) -> None:
    store = open_store(str(tmp_path / "run"))
    table = to_table(predictions, Prediction).drop_columns(["native", "calls", "oddities"])
    store.write_bytes(PART, encode_table(table))
    scored(store, predictions)


def test_no_predictions_give_a_file_without_scores(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    write_records(store, PART, [], Prediction)
    assert score_part(store, PART, synthetic.specs()) == []
    assert read_records(store, layout.scores_of(PART), Score) == []


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("output_text", None, "column 'output_text', row 7: None is refused"),
        ("accepted_json", None, "column 'accepted_json', row 7: None is refused"),
        ("observation_status", "odd", "column 'observation_status', row 7: 'odd' is refused"),
        ("prompt_tokens", None, "column 'prompt_tokens', row 7: None is refused"),
    ],
)
def test_a_damaged_row_is_named_by_its_place(
    tmp_path: Path, predictions: list[Prediction], column: str, value: Any, words: str
) -> None:
    store = open_store(str(tmp_path / "run"))
    # Row 7 is no plain call, so a record is made of it.
    rows = [*predictions[:7], predictions[7].model_copy(update={"output_text": "Final Answer: 3"})]
    table = to_table(rows, Prediction)
    values = table.column(column).to_pylist()
    values[7] = value
    at = table.schema.get_field_index(column)
    buffer = io.BytesIO()
    pq.write_table(
        table.set_column(at, table.schema.field(at), pa.array(values, table.schema.types[at])),
        buffer,
    )
    store.write_bytes(PART, buffer.getvalue())
    with pytest.raises(StageInputError) as caught:
        score_part(store, PART, synthetic.specs())
    assert words in str(caught.value)
    assert store.address(PART) in str(caught.value)

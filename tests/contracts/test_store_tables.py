"""Records as Parquet: identity there and back, and what happens with foreign or damaged files."""

from __future__ import annotations

import datetime
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from ste_ray.core.records import (
    Episode,
    Example,
    Judgment,
    LedgerEntry,
    Message,
    Prediction,
    Record,
    Retrieved,
    Score,
    TrainRow,
    Trial,
    Turn,
)
from ste_ray.errors import StageInputError
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.schema import arrow_schema
from ste_ray.store.tables import (
    RefusedRow,
    encode_table,
    from_table,
    iter_records,
    iter_results,
    read_records,
    to_table,
    write_records,
)

# All but ``ToolSpec``, which is stored as JSON.
STORED = [
    Episode,
    Example,
    Judgment,
    LedgerEntry,
    Message,
    Prediction,
    Retrieved,
    Score,
    TrainRow,
    Trial,
]


class Point(Record):
    x: int
    label: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class Everything(Record):
    text: str
    number: int
    ratio: float
    flag: bool
    kind: Literal["a", "b"]
    maybe: float | None
    names: tuple[str, ...]
    grid: tuple[tuple[int, ...], ...]
    point: Point
    points: tuple[Point, ...]
    perhaps: Point | None
    free: dict[str, Any]
    frees: tuple[dict[str, Any], ...]


TEXT = st.text(max_size=20)  # all of Unicode but surrogates, NUL included
INT64 = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=3)
SCALARS = {str: TEXT, int: INT64, float: st.floats(allow_nan=False), bool: st.booleans()}
POINTS = st.builds(Point, x=INT64, label=st.none() | TEXT, extra=OBJECTS)
RECORDS = st.builds(
    Everything,
    text=TEXT,
    number=INT64,
    ratio=st.floats(allow_nan=False),
    flag=st.booleans(),
    kind=st.sampled_from(["a", "b"]),
    maybe=st.none() | st.floats(allow_nan=False),
    names=st.lists(TEXT, max_size=3).map(tuple),
    grid=st.lists(st.lists(INT64, max_size=2).map(tuple), max_size=2).map(tuple),
    point=POINTS,
    points=st.lists(POINTS, max_size=2).map(tuple),
    perhaps=st.none() | POINTS,
    free=OBJECTS,
    frees=st.lists(OBJECTS, max_size=2).map(tuple),
)


@settings(max_examples=50)
@given(st.lists(RECORDS, max_size=3))
def test_tables_give_records_back_as_they_were(records: list[Everything]) -> None:
    table = to_table(records, Everything)
    assert table.schema == arrow_schema(Everything)
    assert from_table(table, Everything) == records
    middle = table.slice(1, 1)
    assert from_table(middle, Everything) == records[1:2]


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of a field; hypothesis' own for ``int`` exceed what a column holds."""
    if annotation in SCALARS:
        return SCALARS[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is UnionType:  # optional
        return st.none() | values(arguments[0])
    return OBJECTS if origin is dict else instances(annotation)


def instances(model: type[Record]) -> st.SearchStrategy[Any]:
    fields = {name: values(info.annotation) for name, info in model.model_fields.items()}
    return st.builds(model, **fields)


@pytest.mark.parametrize("model", STORED)
def test_every_stored_record_survives_a_file(model: type[Record], tmp_path: Path) -> None:
    store = open_store(str(tmp_path))

    @settings(max_examples=10)
    @given(st.lists(instances(model), max_size=2))
    def survives(records: list[Record]) -> None:
        write_records(store, "all.parquet", records, model)
        assert read_records(store, "all.parquet", model) == records

    survives()


def point(number: int) -> Point:
    return Point(x=number, label=f"ä{number}", extra={f"key {number}": number})


def test_differing_objects_gain_no_nulls_and_keep_their_order() -> None:
    points = [Point(x=1, extra={"z": 1, "a": None}), Point(x=2, extra={"other": []})]
    read = from_table(to_table(points, Point), Point)
    assert read == points
    assert list(read[0].extra) == ["z", "a"]
    assert read[1].extra == {"other": []}


def test_lone_surrogates_do_not_stop_a_stage() -> None:
    turn = Turn(reply_index=0, kind="cut_off", reply_text="half \ud83d, pair \ud83d\ude86, \ude86x")
    assert from_table(to_table([turn], Turn), Turn)[0].reply_text == "half �, pair 🚆, �x"


def test_a_folder_is_read_in_order_of_its_parts(store: RunStore) -> None:
    for part in (1, 0):
        numbers = range(part * 10, part * 10 + 3)
        path = f"data/points/part-{part}.parquet"
        assert write_records(store, path, map(point, numbers), Point) == 3
    store.write_bytes("data/points/_note.txt", b"no records")
    store.write_bytes("data/points-of-others/x.parquet", b"no records")
    expected = [point(n) for n in (0, 1, 2, 10, 11, 12)]
    assert read_records(store, "data/points", Point) == expected
    assert read_records(store, "data/points/part-1.parquet", Point) == expected[3:]


def test_many_records_are_streamed_by_row_group(store: RunStore) -> None:
    write_records(store, "p.parquet", map(point, range(2500)), Point)
    file = pq.ParquetFile(store.path("p.parquet"), filesystem=store.filesystem)
    assert file.num_row_groups == 3
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    stream = iter_records(store, "p.parquet", Point)
    assert next(stream) == point(0)
    assert [record.x for record in stream] == list(range(1, 2500))


@pytest.mark.parametrize("num_rows", [0, 2])
def test_columns_are_read_under_the_names_that_earlier_versions_gave(
    store: RunStore, num_rows: int
) -> None:
    entry = LedgerEntry(
        query_id="t-0",
        trial_id="t",
        tool="add",
        query="Add.",
        origin="explored",
        status="dropped",
        step="filter",
        reason="not faithful",
    )
    table = to_table([entry] * num_rows, LedgerEntry)
    names = ["fate" if name == "status" else name for name in table.column_names]
    store.write_bytes("old.parquet", encode_table(table.rename_columns(names)))
    assert read_records(store, "old.parquet", LedgerEntry) == [entry] * num_rows


def test_no_records_still_make_a_file_with_its_schema(store: RunStore) -> None:
    assert write_records(store, "none.parquet", [], Everything) == 0
    assert read_records(store, "none.parquet", Everything) == []
    schema = pq.read_schema(store.path("none.parquet"), filesystem=store.filesystem)
    assert schema == arrow_schema(Everything)
    with pytest.raises(StageInputError, match="lacks column 'x'"):
        read_records(store, "none.parquet", Point)


def test_a_failing_source_leaves_no_file(store: RunStore) -> None:
    def records() -> Any:
        yield point(1)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_records(store, "p.parquet", records(), Point)
    assert store.list() == []


@pytest.mark.parametrize("path", ["absent", "absent/p.parquet", "notes"])
def test_missing_files_are_named(store: RunStore, path: str) -> None:
    store.write_bytes("notes/readme.txt", b"x")
    with pytest.raises(StageInputError) as caught:
        read_records(store, path, Point)
    assert f"{store.uri}/{path}'" in str(caught.value)


@pytest.mark.parametrize("damage", ["foreign", "empty", "cut", "flipped"])
def test_damaged_files_are_named_in_one_line(tmp_path: Path, damage: str) -> None:
    store = open_store(str(tmp_path))
    write_records(store, "p.parquet", map(point, range(500)), Point)
    data = store.read_bytes("p.parquet")
    middle = len(data) // 3
    content = {
        "foreign": b"%PDF-1.4 is no Parquet",
        "empty": b"",
        "cut": data[: len(data) // 2],
        "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
    }
    store.write_bytes("p.parquet", content[damage])
    with pytest.raises(StageInputError, match=r"p\.parquet' is damaged or no Parquet") as caught:
        read_records(store, "p.parquet", Point)
    assert "\n" not in str(caught.value)


def write_table(store: RunStore, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    store.write_bytes("p.parquet", sink.getvalue().to_pybytes())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.drop_columns(["x"]), "lacks column 'x'"),
        (lambda t: t.append_column("more", t["x"]), "has unknown column 'more'"),
        (lambda t: t.set_column(0, "x", pa.array(["one", "two"])), "column 'x', row 0: 'one'"),
        (lambda t: t.set_column(0, "x", pa.array([1, None])), "column 'x', row 1: None"),
        (lambda t: t.set_column(2, "extra", pa.array(["{}", "{"])), "column 'extra', row 1: '{'"),
        (lambda t: t.set_column(2, "extra", pa.array(["[]", "{}"])), "column 'extra', row 0"),
    ],
)
def test_foreign_columns_are_named(tmp_path: Path, change: Any, complaint: str) -> None:
    store = open_store(str(tmp_path))
    write_table(store, change(to_table([point(0), point(1)], Point)))
    with pytest.raises(StageInputError) as caught:
        read_records(store, "p.parquet", Point)
    message = str(caught.value)
    assert complaint in message
    assert "p.parquet" in message
    assert "Point" in message
    assert "\n" not in message


def test_each_row_is_a_record_or_says_why_not() -> None:
    table = to_table([point(0), point(1), point(2)], Point)
    table = table.set_column(0, "x", pa.array([0, None, 2]))
    good, bad, other = iter_results(table, Point)
    assert (good, other) == (point(0), point(2))
    assert isinstance(bad, RefusedRow)
    assert bad.column == "x"
    assert "None is refused by Point" in bad.reason
    assert bad.row["label"] == "ä1"


def test_a_nested_field_that_is_missing_is_named() -> None:
    table = to_table([Retrieved(example_id="e", tools=(), demonstrations=())], Retrieved)
    lists = pa.array([[{"key": "a"}]])
    table = table.set_column(2, "tools", lists)
    with pytest.raises(StageInputError, match=r"column 'tools\.0\.score', row 0"):
        from_table(table, Retrieved)


def test_fields_without_a_column_type_are_refused() -> None:
    class Dated(Record):
        day: datetime.date

    with pytest.raises(TypeError, match="field 'day' of Dated"):
        arrow_schema(Dated)


def test_only_parquet_names_are_written(store: RunStore) -> None:
    with pytest.raises(ValueError, match=r"must end in '\.parquet'"):
        write_records(store, "points", [point(1)], Point)

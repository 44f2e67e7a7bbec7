"""Rows of many parts become sorted parts, whatever order, number and place they come from."""

from __future__ import annotations

import io
import itertools
import random
import tempfile
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ste_ray.core.records import Episode, Fault, Message, Trial, Turn
from ste_ray.errors import StageInputError, StoreError
from ste_ray.store import sorting
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.schema import arrow_schema
from ste_ray.store.sorting import write_sorted
from ste_ray.store.tables import read_records, write_records

SCHEMA = pa.schema([("tool", pa.string()), ("number", pa.int64()), ("text", pa.string())])
ORDER = ("tool", "number")
Row = tuple[str, int, str]


def add_source(store: RunStore, name: str, rows: list[Row], schema: pa.Schema = SCHEMA) -> str:
    table = pa.table(dict(zip(schema.names, zip(*rows, strict=True), strict=True)), schema=schema)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, write_page_checksum=True, compression="zstd")
    store.write_bytes(f"in/{name}.parquet", buffer.getvalue())
    return f"in/{name}.parquet"


def sort(store: RunStore, sources: list[str], keys: list[str]) -> list[list[Row]]:
    """Sort; return the rows of each part as they were yielded."""
    tables = write_sorted(store, sources, "out", SCHEMA, ORDER, keys)
    return [rows_of(table) for table in tables]


def rows_of(table: pa.Table) -> list[Row]:
    return [tuple(row.values()) for row in table.to_pylist()]


def stored(store: RunStore) -> dict[str, list[Row]]:
    paths = store.list("out")
    return {path: rows_of(pq.read_table(pa.BufferReader(store.read_bytes(path)))) for path in paths}


def shuffled(tools: list[str], per_tool: int, seed: int = 0) -> list[Row]:
    rows = [(tool, number, f"{tool} {number}") for tool in tools for number in range(per_tool)]
    random.Random(seed).shuffle(rows)
    return rows


def scattered(store: RunStore, rows: list[Row], num_sources: int) -> list[str]:
    return [
        add_source(store, f"s{number}", rows[number::num_sources]) for number in range(num_sources)
    ]


def test_rows_of_several_sources_come_in_order_in_parts_that_begin_at_the_keys(store):
    rows = shuffled(["a", "b", "c", "d", "e"], 4)
    parts = sort(store, scattered(store, rows, 3), ["a", "c", "e"])
    in_order = sorted(rows)
    assert parts == [in_order[:8], in_order[8:16], in_order[16:]]
    # What is yielded is what was written, under names that sort as the parts do.
    assert stored(store) == {f"out/part-{i:05d}.parquet": part for i, part in enumerate(parts)}


def test_old_parts_are_removed_and_neighbours_left_alone(store):
    store.write_bytes("out/part-00001.parquet", b"old")
    store.write_bytes("out/part-00007.parquet", b"old")
    store.write_bytes("outer/part-00000.parquet", b"mine")
    source = add_source(store, "s", [("b", 1, "x"), ("a", 1, "y")])
    sort(store, [source], ["a"])
    assert stored(store) == {"out/part-00000.parquet": [("a", 1, "y"), ("b", 1, "x")]}
    assert store.read_bytes("outer/part-00000.parquet") == b"mine"
    assert store.exists(source)


def test_old_parts_stay_until_all_new_ones_are_written(store):
    store.write_bytes("out/part-00007.parquet", b"old")
    source = add_source(store, "s", shuffled(["a", "b"], 1))
    parts = write_sorted(store, [source], "out", SCHEMA, ORDER, ["a", "b"])
    next(parts)
    assert store.exists("out/part-00007.parquet")
    parts.close()
    assert sort(store, [source], ["a", "b"]) == [[("a", 0, "a 0")], [("b", 0, "b 0")]]
    assert list(stored(store)) == ["out/part-00000.parquet", "out/part-00001.parquet"]


def test_sorting_again_writes_the_same_bytes(store):
    sources = scattered(store, shuffled(["a", "b", "c"], 5), 2)
    sort(store, sources, ["a", "c"])
    before = {path: store.read_bytes(path) for path in store.list("out")}
    sort(store, sources[::-1], ["a", "c"])
    assert {path: store.read_bytes(path) for path in store.list("out")} == before


def test_nested_columns_stay_as_they_were(store):
    episodes = [episode(tool, number) for tool in ("b", "a") for number in (2, 0, 1)]
    for index, part in enumerate((episodes[:1], episodes[1:4], episodes[4:])):
        write_records(store, f"in/{index}.parquet", part, Episode)
    order = ("tool", "episode_number")
    tables = write_sorted(store, store.list("in"), "out", arrow_schema(Episode), order, ["a", "b"])
    assert [table.num_rows for table in tables] == [3, 3]
    in_order = sorted(episodes, key=lambda one: (one.tool, one.episode_number))
    assert read_records(store, "out", Episode) == in_order


def test_parts_of_a_version_that_lacked_fields_are_sorted_with_those_of_now(store):
    episodes = [episode(tool, number) for tool in ("b", "a") for number in (0, 1)]
    write_records(store, "in/0.parquet", episodes[:2], Episode)
    since = {"tool_calls", "tool_call_id", "reasoning", "call_id", "oddities"}
    old = without(arrow_schema(Episode), since)
    rows = [pruned(one.model_dump(), old) for one in episodes[2:]]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=old), buffer)
    store.write_bytes("in/1.parquet", buffer.getvalue())
    order, schema = ("tool", "episode_number"), arrow_schema(Episode)
    tables = write_sorted(store, store.list("in"), "out", schema, order, ["a", "b"], model=Episode)
    assert [table.num_rows for table in tables] == [2, 2]
    assert read_records(store, "out", Episode) == [*episodes[2:], *episodes[:2]]


def without(kind, names):
    """A schema or type without the fields of these names, also within others."""
    if pa.types.is_list(kind) if isinstance(kind, pa.DataType) else False:
        return pa.list_(without(kind.value_type, names))
    if isinstance(kind, pa.Schema) or pa.types.is_struct(kind):
        left = [
            (field.name, without(field.type, names)) for field in kind if field.name not in names
        ]
        return pa.schema(left) if isinstance(kind, pa.Schema) else pa.struct(left)
    return kind


def pruned(value, kind):
    """What of a value such a type holds."""
    if isinstance(kind, pa.DataType) and pa.types.is_list(kind):
        return [pruned(item, kind.value_type) for item in value]
    if isinstance(kind, pa.Schema) or pa.types.is_struct(kind):
        return {field.name: pruned(value[field.name], field.type) for field in kind}
    return value


def episode(tool: str, number: int) -> Episode:
    """An episode with as many turns in each trial as its number, and one trial more."""
    turn = Turn(
        reply_index=1,
        reply_text="Action: naïve 日本",
        kind="tool_call",
        tool=tool,
        arguments_json='{"n": [1, {"m": null}]}',
        observation_status="ok",
    )
    trials = tuple(
        Trial(
            trial_id=f"{tool}-{number}-{index}",
            episode_id=f"{tool}-{number}",
            tool=tool,
            episode_number=number,
            trial_number=index,
            query="q",
            query_text="User Query: q",
            memory_shown=0,
            turns=(turn,) * number,
            final_answer="",
            outcome="finished",
            solved="yes",
            faults=(Fault(kind="timeout", detail="d"),) * index,
        )
        for index in range(number + 1)
    )
    return Episode(
        episode_id=f"{tool}-{number}",
        tool=tool,
        tool_fingerprint="f",
        episode_number=number,
        messages=(Message(role="user", content=f"content {number}"),) * number,
        trials=trials,
    )


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "foreign": lambda data: b"no Parquet at all",
    "cut off": lambda data: data[: len(data) // 2],
    "header of a page": lambda data: flipped(data, 4),  # the first one is behind "PAR1"
    "content of a page": lambda data: flipped(data, middle_of_texts(data)),
}


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]


def middle_of_texts(data: bytes) -> int:
    """A position at which only a checksum tells that a byte is another one."""
    texts = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(2)
    first_page = texts.dictionary_page_offset or texts.data_page_offset
    return int(first_page + texts.total_compressed_size // 3)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_source_is_named_in_one_line_and_nothing_is_written(store, damage):
    good = add_source(store, "good", shuffled(["a"], 300))
    digits = random.Random(0)
    bad = add_source(store, "bad", [("b", n, f"{digits.random()}") for n in range(300)])
    store.write_bytes("out/part-00000.parquet", b"old")
    store.write_bytes(bad, DAMAGES[damage](store.read_bytes(bad)))
    with pytest.raises(StageInputError) as caught:
        sort(store, [good, bad], ["a"])
    assert repr(store.address(bad)) in str(caught.value)
    assert repr(store.address(good)) not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert store.read_bytes("out/part-00000.parquet") == b"old"


class TestLocally:
    """What does not depend on where the run lies."""

    @pytest.fixture
    def store(self, tmp_path) -> RunStore:
        return open_store(str(tmp_path / "run"))

    @pytest.mark.parametrize("num_keys", [255, 256, 257, 600])
    def test_more_keys_than_files_may_be_open_make_longer_parts(self, store, num_keys):
        keys = [f"tool{number:04d}" for number in range(num_keys)]
        rows = shuffled(keys, 2)
        parts = sort(store, scattered(store, rows, 2), keys)
        assert list(itertools.chain(*parts)) == sorted(rows)
        keys_in_a_part = -(-num_keys // 256)
        assert [part[0][0] for part in parts] == keys[::keys_in_a_part]
        assert len(store.list("out")) == len(parts) <= 256

    def test_a_part_holds_rows_before_the_first_key_and_behind_the_last(self, store):
        source = add_source(store, "s", shuffled(["a", "m", "z"], 1))
        parts = sort(store, [source], ["b", "n"])
        assert [[tool for tool, _, _ in part] for part in parts] == [["a", "m"], ["z"]]

    def test_a_range_without_rows_leaves_no_gap(self, store):
        source = add_source(store, "s", shuffled(["a", "z"], 1))
        assert len(sort(store, [source], ["a", "h", "p", "z"])) == 2
        assert list(stored(store)) == ["out/part-00000.parquet", "out/part-00001.parquet"]

    def test_names_beyond_ascii_are_ordered_as_their_keys_are(self, store):
        tools = sorted(["Zebra", "_x", "a b", "zoo", "état", "日本", "😀"])
        rows = shuffled(tools, 2)
        parts = sort(store, scattered(store, rows, 2), tools)
        assert [part[0][0] for part in parts] == tools
        assert list(itertools.chain(*parts)) == sorted(rows)

    @pytest.mark.parametrize("keys", [[], ["a"]])
    def test_without_rows_no_part_is_left(self, store, keys):
        store.write_bytes("out/part-00000.parquet", b"old")
        assert sort(store, [], keys) == []
        assert store.list("out") == []

    def test_without_keys_there_is_one_part(self, store):
        source = add_source(store, "s", shuffled(["b", "a"], 2))
        assert sort(store, [source], []) == [sorted(shuffled(["b", "a"], 2))]

    def test_a_source_with_other_columns_is_named(self, store):
        good = add_source(store, "good", shuffled(["a"], 1))
        other = pa.schema([("tool", pa.string()), ("number", pa.string()), ("text", pa.string())])
        bad = add_source(store, "bad", [("a", "one", "x")], other)  # type: ignore[list-item]
        with pytest.raises(StageInputError) as caught:
            sort(store, [good, bad], ["a"])
        assert repr(store.address(bad)) in str(caught.value)

    def test_a_full_disk_is_no_damaged_input(self, store, monkeypatch):
        source = add_source(store, "s", shuffled(["a"], 1))

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(sorting.pq, "ParquetWriter", full)
        with pytest.raises(StoreError, match=r"No space left.*TMPDIR"):
            sort(store, [source], ["a"])

    def test_nothing_is_left_on_the_local_disk(self, store, tmp_path, monkeypatch):
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(scratch))
        source = add_source(store, "s", shuffled(["a", "b"], 1))
        parts = write_sorted(store, [source], "out", SCHEMA, ORDER, ["a", "b"])
        next(parts)
        assert len([one for one in scratch.iterdir() if one.is_dir()]) == 1
        list(parts)
        assert list(scratch.iterdir()) == []

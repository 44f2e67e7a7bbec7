"""How episodes are cut into partitions of whole tools, and what is refused before that."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flow_examples import called, trial

from ste_ray.core.records import Episode
from ste_ray.errors import StageInputError
from ste_ray.stages.prepare import partitions
from ste_ray.stages.prepare.partitions import Partition, Slice, iter_episode_tables, plan_partitions
from ste_ray.store.artifacts import open_store
from ste_ray.store.tables import to_table, write_records


def episode(tool, number, num_trials=4):
    trials = tuple(
        trial((called("ok"),), tool=tool, trial_id=f"{tool}-{number}-{at}")
        for at in range(num_trials)
    )
    return Episode(
        episode_id=f"{tool}-{number}",
        tool=tool,
        tool_fingerprint="f",
        episode_number=number,
        messages=(),
        trials=trials,
    )


def stored(tmp_path, *parts):
    """Store parts, each a mapping of tools to their number of episodes."""
    store = open_store(str(tmp_path))
    for number, part in enumerate(parts):
        episodes = [episode(tool, at) for tool, count in part.items() for at in range(count)]
        write_records(store, f"explore/episodes/part-{number:05d}.parquet", episodes, Episode)
    return store


def tools_of(store, partition):
    return [
        (tool, len(trials))
        for table in iter_episode_tables(store, partition)
        for tool, trials in zip(
            *(table[name].to_pylist() for name in ("tool", "trials")), strict=True
        )
    ]


def test_a_partition_holds_whole_tools_and_at_least_so_many_trials(tmp_path, monkeypatch):
    monkeypatch.setattr(partitions, "TRIALS_PER_PARTITION", 20)
    store = stored(tmp_path, {"a": 3, "b": 3, "c": 9}, {"d": 1, "e": 1})
    planned = plan_partitions(store, "abcde")
    first, second = "explore/episodes/part-00000.parquet", "explore/episodes/part-00001.parquet"
    assert planned == [
        Partition(0, (Slice(first, 0, 6),)),
        Partition(1, (Slice(first, 6, 15),)),
        Partition(2, (Slice(second, 0, 2),)),
    ]
    assert [partition.name for partition in planned] == ["part-00000", "part-00001", "part-00002"]
    assert tools_of(store, planned[0]) == [("a", 4)] * 3 + [("b", 4)] * 3
    assert all(Partition.from_json(partition.to_json()) == partition for partition in planned)


def test_a_tool_may_lie_in_two_files(tmp_path, monkeypatch):
    monkeypatch.setattr(partitions, "TRIALS_PER_PARTITION", 1)
    store = stored(tmp_path, {"a": 2, "b": 1}, {"b": 2, "c": 1})
    planned = plan_partitions(store, "abc")
    assert [[tool for tool, _ in tools_of(store, partition)] for partition in planned] == [
        ["a", "a"],
        ["b", "b", "b"],
        ["c"],
    ]


def test_episodes_come_in_small_tables_also_across_row_groups(tmp_path):
    store = stored(tmp_path, {"a": 1500, "b": 600})
    (partition,) = plan_partitions(store, "ab")[:1]
    sizes = [table.num_rows for table in iter_episode_tables(store, partition)]
    assert sum(sizes) == 1500
    assert max(sizes) <= 256


def test_the_plan_does_not_depend_on_what_runs_it(tmp_path):
    store = stored(tmp_path, {f"t{n:02}": 5 for n in range(30)})
    tools = [f"t{n:02}" for n in range(30)]
    assert plan_partitions(store, tools) == plan_partitions(store, sorted(tools, reverse=True))


def test_a_tool_that_is_not_described_is_named(tmp_path):
    store = stored(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(StageInputError, match=r"episodes of tool 'b', which explore/tools\.json"):
        plan_partitions(store, ["a"])


def test_a_tool_whose_episodes_stand_apart_is_named(tmp_path):
    store = stored(tmp_path, {"a": 1, "b": 1}, {"a": 1})
    with pytest.raises(StageInputError, match=r"tool 'a' .* do not stand together"):
        plan_partitions(store, "ab")


def write(store, table):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    store.write_bytes("explore/episodes/part-00000.parquet", sink.getvalue().to_pybytes())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.drop_columns(["tool"]), "lacks column 'tool'"),
        (lambda t: t.append_column("more", t["tool"]), "unknown column 'more'"),
        (lambda t: t.drop_columns(["trials"]), "lacks column 'trials'"),
        (lambda t: t.set_column(6, "trials", t["tool"]), "column 'trials' is of type 'string'"),
        (
            lambda t: t.set_column(6, "trials", pa.array([[{"trial_id": "x"}]])),
            "trials' holds no Trial records: it lacks column 'episode_id'",
        ),
    ],
)
def test_foreign_columns_are_named(tmp_path, change, complaint):
    store = open_store(str(tmp_path))
    table = to_table([episode("a", 0)], Episode)
    assert table.column_names[6] == "trials"
    write(store, change(table))
    with pytest.raises(StageInputError) as caught:
        plan_partitions(store, "a")
    assert complaint in str(caught.value)
    assert "part-00000.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_episode_without_a_tool_is_told(tmp_path):
    store = open_store(str(tmp_path))
    table = to_table([episode("a", 0), episode("a", 1)], Episode)
    write(store, table.set_column(2, "tool", pa.array([None, "a"], pa.string())))
    with pytest.raises(StageInputError, match="holds episodes of tool ''"):
        plan_partitions(store, ["a"])


def test_a_damaged_or_missing_file_is_named(tmp_path):
    store = stored(tmp_path, {"a": 3})
    path = "explore/episodes/part-00000.parquet"
    data = store.read_bytes(path)
    for broken in (b"no Parquet", data[: len(data) // 2]):
        store.write_bytes(path, broken)
        with pytest.raises(StageInputError, match=r"part-00000\.parquet' is damaged"):
            plan_partitions(store, "a")
    group = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    (query,) = (one for one in columns if one.path_in_schema.endswith("element.query"))
    middle = query.dictionary_page_offset + query.total_compressed_size // 2
    store.write_bytes(path, data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    with pytest.raises(StageInputError, match=r"part-00000\.parquet' is damaged"):
        list(iter_episode_tables(store, plan_partitions(store, "a")[0]))
    store.delete(path)
    with pytest.raises(StageInputError, match="no Parquet files"):
        plan_partitions(store, "a")

"""Pieces of predictions: kept as they come, and each prediction once in the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ste_ray.core import layout
from ste_ray.core.inferring.settings import Query, Setting, parse_settings
from ste_ray.core.records import Example, Prediction
from ste_ray.errors import RunLockedError
from ste_ray.stages.infer import pieces as pieces_module
from ste_ray.stages.infer.pieces import Pieces, answered, put_in_order
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.lock import RunLock
from ste_ray.store.tables import read_records, write_records

SETTING: Setting = parse_settings(["base/icl"])[0]
FOLDER = layout.predictions(SETTING.folder_name)
PIECES = layout.prediction_pieces(SETTING.folder_name)


def query(number: int) -> Query:
    return Query(
        example=Example(
            example_id=f"e{number:02d}",
            group_id="g",
            trial_id="t",
            tool="add",
            query="q",
            origin="explored",
            arguments_json="{}",
            observation="",
            final_answer="",
            split="test",
        )
    )


def prediction(number: int, text: str = "Action: add") -> Prediction:
    return Prediction(
        example_id=f"e{number:02d}",
        setting=SETTING.name,
        tool="add",
        query="q",
        arguments_json="{}",
        candidates=("add",),
        output_text=text,
        prompt_tokens=3,
        completion_tokens=2,
    )


class Time:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[tuple[RunStore, int]]:
    store = open_store(str(tmp_path / "run"))
    with RunLock(store, "infer") as lock:
        yield store, lock.epoch


def new_pieces(owned: tuple[RunStore, int], clock: Time, numbers: range) -> Pieces:
    store, epoch = owned
    return Pieces(store, epoch, SETTING, [query(number) for number in numbers], 5.0, clock)


def test_what_has_waited_is_written_and_known_to_whoever_takes_the_part_up_again(
    owned: tuple[RunStore, int],
) -> None:
    store, _ = owned
    clock = Time()
    pieces = new_pieces(owned, clock, range(6))
    assert pieces.answered() == set()
    pieces.add([prediction(0), prediction(1)])
    assert not pieces.due
    clock.seconds = 5.0
    assert pieces.due
    pieces.flush()
    pieces.add([prediction(2)])  # its worker is killed before this is written
    assert not pieces.due
    again = new_pieces(owned, clock, range(6))
    assert again.answered() == {"e00", "e01"}
    assert answered(store, SETTING) == {"e00", "e01"}
    assert new_pieces(owned, clock, range(2, 6)).answered() == set()  # another part


def test_pieces_become_fewer_the_longer_it_takes(owned: tuple[RunStore, int]) -> None:
    clock = Time()
    pieces = new_pieces(owned, clock, range(2))
    waits = []
    for _ in range(40):
        pieces.add([prediction(0)])
        since = clock.seconds
        while not pieces.due:
            clock.seconds += 1
        waits.append(clock.seconds - since)
        pieces.flush()
    assert waits[0] == waits[15] == 5
    assert waits[16] == 10
    assert waits[39] == 15


def test_each_prediction_stands_once_and_in_order_in_the_end(owned: tuple[RunStore, int]) -> None:
    store, _ = owned
    clock = Time()
    first, second = new_pieces(owned, clock, range(6)), new_pieces(owned, clock, range(3, 9))
    for pieces, numbers in ((first, (5, 4, 0, 1)), (second, (8, 4, 5, 3)), (first, (2, 3))):
        pieces.add([prediction(number) for number in numbers])
        pieces.flush()
    second.add([prediction(7, "b"), prediction(6)])
    second.flush()
    first.add([prediction(7, "a")])  # by a worker that was thought dead
    first.flush()
    found = list(put_in_order(store, SETTING, lambda: None))
    assert [one.example_id for one in found] == [f"e{number:02d}" for number in range(9)]
    assert [one.output_text for one in found].count("a") == 1
    assert read_records(store, FOLDER, Prediction) == found
    assert store.list(FOLDER) == [f"{FOLDER}/part-00000.parquet"]
    # Cut off before the setting was marked complete, it is done again; pieces may come late.
    ordered = store.read_bytes(f"{FOLDER}/part-00000.parquet")
    store.write_bytes(f"{FOLDER}/part-00001.parquet", ordered)
    for path in store.list(PIECES)[1:]:
        store.delete(path)
    first.add([prediction(2)])
    first.flush()
    assert list(put_in_order(store, SETTING, lambda: None)) == found
    assert store.read_bytes(f"{FOLDER}/part-00000.parquet") == ordered
    assert store.list(FOLDER) == [f"{FOLDER}/part-00000.parquet"]


def test_parts_are_put_in_order_one_after_the_other(
    owned: tuple[RunStore, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces_module, "_ROWS_PER_PART", 4)
    store, _ = owned
    for numbers in ((9, 1, 5, 3), (7, 0, 8, 2), (4, 6, 1, 5)):
        pieces = new_pieces(owned, Time(), range(10))
        pieces.add([prediction(number) for number in numbers])
        pieces.flush()
    checks = iter([None, None, None])

    def lost_after_two_parts() -> None:
        if next(checks, "gone") == "gone":
            raise RunLockedError("another process owns the run")

    cut_off = put_in_order(store, SETTING, lost_after_two_parts)
    first = [next(cut_off) for _ in range(8)]
    assert [one.example_id for one in first] == [f"e{number:02d}" for number in range(8)]
    with pytest.raises(RunLockedError):
        next(cut_off)
    found = list(put_in_order(store, SETTING, lambda: None))
    assert [one.example_id for one in found] == [f"e{number:02d}" for number in range(10)]
    parts = [len(read_records(store, path, Prediction)) for path in store.list(FOLDER)]
    assert parts == [4, 4, 2]


def test_nothing_is_written_into_a_run_that_others_own(owned: tuple[RunStore, int]) -> None:
    store, epoch = owned
    pieces = Pieces(store, epoch - 1, SETTING, [query(0)], 5.0)
    pieces.add([prediction(0)])
    with pytest.raises(RunLockedError):
        pieces.flush()
    assert not store.list(PIECES)


def test_a_part_has_the_same_bytes_whatever_its_pieces_were(tmp_path: Path) -> None:
    made = []
    for number, cuts in enumerate(([range(9)], [range(5), range(5, 9), range(3)])):
        store = open_store(str(tmp_path / str(number)))
        for piece, numbers in enumerate(cuts):
            path = f"{PIECES}/piece-{piece}.parquet"
            write_records(store, path, [prediction(one) for one in numbers], Prediction)
        assert len(list(put_in_order(store, SETTING, lambda: None))) == 9
        made.append(store.read_bytes(layout.part(FOLDER, 0)))
    assert made[0] == made[1]

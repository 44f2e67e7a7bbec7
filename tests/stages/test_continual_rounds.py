"""What a round of tools is given: above all its tests."""

from __future__ import annotations

import pytest
from exports.prepared_run import NAMES, make_run

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.preparing.formatting import general_no_call_test, training_rows
from ste_ray.core.records import TOOL_ROWS, Example, FailedCall, TrainRow
from ste_ray.errors import StageInputError
from ste_ray.stages.base import StageContext, load_prompts
from ste_ray.stages.continual.rounds import ToolBatches, plan_rounds, prepare_round
from ste_ray.store.tables import read_records, write_records

BATCHES = ToolBatches((tuple(NAMES[:2]), tuple(NAMES[2:])))


def rounds_of(store, variant="replay"):
    """Prepare the rounds of a variant, and return the run of each."""
    context = StageContext(config=Config(), store=store, progress=print)
    rounds = list(plan_rounds(variant, 2))
    for one in rounds:
        path = f"{layout.round_rows(one.number)}/part-00000.parquet"
        write_records(store, path, read_records(store, layout.ROWS, TrainRow), TrainRow)
        prepare_round(context, store.below(one.folder), one, BATCHES)
    return [store.below(one.folder) for one in rounds]


def test_every_round_tests_restraint_beside_the_tools_so_far(tmp_path):
    store, _, _ = make_run(tmp_path / "run")
    tests = [general_no_call_test(f"Who are you, {number}?", "A model.") for number in range(3)]
    write_records(store, layout.NO_CALL_TESTS, tests, Example)
    for child, known in zip(rounds_of(store), (NAMES[:2], NAMES), strict=True):
        found = read_records(child, layout.EXAMPLES, Example)
        tested = [one for one in found if one.split == "test"]
        assert sorted({one.tool for one in tested}) == ["", *known]
        assert [one for one in tested if not one.needs_call] == tests
        assert {one.split for one in found} == {"train", "test"}


def test_tests_of_restraint_alone_are_too_few_for_a_round(tmp_path):
    store, _, _ = make_run(tmp_path / "run", splits=False)
    write_records(store, layout.NO_CALL_TESTS, [general_no_call_test("Who?", "I.")], Example)
    with pytest.raises(StageInputError, match="no tool of the rounds up to 0 has a test query"):
        rounds_of(store)


@pytest.mark.parametrize(
    ("variant", "replayed"), [("replay", set(TOOL_ROWS)), ("no_replay", set())]
)
def test_corrections_are_replayed_with_their_examples_or_not_at_all(tmp_path, variant, replayed):
    store, examples, _ = make_run(tmp_path / "run")
    failed = (FailedCall(arguments_json='{"a":"x"}', observation="no number"),)
    rows = [
        row
        for one in examples
        if one.split != "test"
        for row in training_rows(
            one.model_copy(update={"failed_calls": failed}), load_prompts(), tool_responses=True
        )
    ]
    write_records(store, f"{layout.ROWS}/part-00000.parquet", rows, TrainRow)
    first, second = rounds_of(store, variant)
    for child, tools, kinds in (
        (first, NAMES[2:], set()),  # they have not arrived
        (second, NAMES[:2], replayed),
        (second, NAMES[2:], set(TOOL_ROWS)),
    ):
        found = [
            row.kind
            for row in read_records(child, layout.ROWS, TrainRow)
            if row.tool in tools and row.split == "train"
        ]
        assert set(found) == kinds

"""Corrections in a partition: rows beside those of their example, and tests of those held out."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
from flow_examples import PROMPTS, SPEC, called, in_replies, trial

from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.preparing.paraphrasing import Paraphrase
from ste_ray.core.records import Episode, Example, MadeTest, TrainRow, Trial
from ste_ray.stages.prepare.context import PrepareContext
from ste_ray.stages.prepare.outputs import Outputs
from ste_ray.stages.prepare.spool import Spool
from ste_ray.stages.prepare.steps import prepare_partition
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.tables import read_records, to_table

SPECS = {name: SPEC.model_copy(update={"name": name}) for name in ("add", "sub")}
ON = "prepare.trajectories=corrections"
ALL = "prepare.correction_fraction=1"


def asked(tool: str, number: int, *failed: int, status: str = "error") -> Trial:
    """A trial whose right call has the number, after calls with others that failed."""
    turns = [called(status, one) for one in failed] + [called("ok", number)]
    return trial(
        trial_id=f"{tool}-{number}",
        tool=tool,
        query=f"{tool} number {number * 7919} of {number} and {'abcdefgh'[number % 8] * 9}?",
        turns=tuple(one.model_copy(update={"tool": tool}) for one in in_replies(*turns)),
    )


def tables(trials: list[Trial]) -> Any:
    episodes = [
        Episode(
            episode_id=one.trial_id, tool=one.tool, tool_fingerprint="f", episode_number=0,
            messages=(), trials=(one,),
        )
        for one in trials
    ]  # fmt: skip
    table: pa.Table = to_table(episodes, Episode).select(["tool", "trials"])
    return iter([table])


async def rewords(flow: Any, scope: str) -> list[Paraphrase]:
    flow.close()
    return [Paraphrase(text=f"Another wording of {scope}", kept=True)]


def prepared(
    folder: Path, trials: list[Trial], *overrides: str, run_flow: Any = None
) -> tuple[RunStore, dict[str, Any]]:
    config = load_config(None, ["prepare.judge=false", "prepare.max_paraphrases=1", *overrides])
    context = PrepareContext(config, SPECS, PROMPTS, run_flow)
    store = open_store(str(folder / "run"))
    (folder / "work").mkdir(parents=True)
    makes_tests = bool(config.prepare.tests)
    with (
        Spool(folder / "work/spool.arrow") as spool,
        Outputs(folder / "work/outputs", "part-00000", makes_tests=makes_tests) as outputs,
    ):
        asyncio.run(prepare_partition(tables(trials), context, spool, outputs))
        outputs.upload(store)
    return store, outputs.result()


def rows_of(store: RunStore) -> list[TrainRow]:
    return read_records(store, layout.ROWS, TrainRow)


def examples_of(store: RunStore) -> list[Example]:
    return read_records(store, layout.EXAMPLES, Example)


FAILING = [
    *(asked("add", n, n + 1000) for n in range(30)),
    *(asked("add", n) for n in range(30, 60)),
    *(asked("sub", n, n + 1000, status="rejected") for n in range(60)),
]
MENDED = {one.trial_id for one in FAILING if len(one.turns) > 1}


def test_corrections_add_rows_and_change_no_other(tmp_path: Path) -> None:
    plain, _ = prepared(tmp_path / "1", FAILING)
    store, result = prepared(tmp_path / "2", FAILING, ON, ALL)
    before, after = rows_of(plain), rows_of(store)
    added = [one for one in after if one.kind in ("mended_call", "mended_answer")]
    assert [one for one in after if one not in added] == before
    wanted = [one for one in examples_of(plain) if one.split != "test" and one.trial_id in MENDED]
    assert Counter((one.example_id, one.kind) for one in added) == Counter(
        (one.example_id, kind) for one in wanted for kind in ("mended_call", "mended_answer")
    )
    by_tool = Counter(one.tool for one in wanted)
    assert {tool: counts["corrections"] for tool, counts in result["tools"].items()} == by_tool
    assert result["counts"]["corrections"] == len(wanted)


def test_no_correction_is_made_of_a_test_and_none_shows_its_call(tmp_path: Path) -> None:
    # Each failed call of the first thirty has the number of a later request.
    trials = [asked("add", n, 30 + n) for n in range(30)] + [asked("add", n) for n in range(30, 60)]
    store, _ = prepared(tmp_path, trials, ON, ALL)
    examples = examples_of(store)
    tested = {one.arguments_json for one in examples if one.split == "test"}
    held_out = {one.example_id for one in examples if one.split == "test"}
    corrected = [one for one in examples if one.failed_calls]
    assert corrected
    assert all(one.split != "test" for one in corrected)
    shown = {failed.arguments_json for one in corrected for failed in one.failed_calls}
    assert not shown & tested
    could = {
        one.trial_id
        for one in examples
        if one.split != "test" and int(one.trial_id.partition("-")[2]) < 30
    }
    assert {one.trial_id for one in corrected} < could  # the others show the call of a test
    assert not held_out & {row.example_id for row in rows_of(store)}


def test_the_share_of_corrections_is_bounded_and_drawn_by_the_seed(tmp_path: Path) -> None:
    options = [ON, "prepare.correction_fraction=0.1"]
    found = [
        {one.trial_id for one in examples_of(prepared(tmp_path / n, FAILING, *more)[0])
         if one.failed_calls}
        for n, more in (("1", options), ("2", options), ("3", [*options, "seed=1"]))
    ]  # fmt: skip
    assert found[0] == found[1] != found[2]
    requests = Counter(
        one.tool for one in examples_of(prepared(tmp_path / "4", FAILING)[0]) if one.split != "test"
    )
    drawn = Counter(one.partition("-")[0] for one in found[0])
    assert drawn == {tool: -(-number // 10) for tool, number in requests.items()}


def test_paraphrases_are_corrected_as_their_request_is(tmp_path: Path) -> None:
    store, _ = prepared(tmp_path, FAILING, ON, "prepare.target_per_tool=1000", run_flow=rewords)
    by_trial: dict[str, set[bool]] = {}
    origins = set()
    for one in examples_of(store):
        by_trial.setdefault(one.trial_id, set()).add(bool(one.failed_calls))
        origins.add((one.origin, bool(one.failed_calls)))
    assert all(len(found) == 1 for found in by_trial.values())
    assert ("paraphrase", True) in origins


def test_what_is_dropped_is_no_correction(tmp_path: Path) -> None:
    twice = asked("add", 1, 1001).model_copy(update={"trial_id": "add-again"})
    store, result = prepared(tmp_path, [asked("add", 1, 1001), twice], ON, ALL, "seed=3")
    assert result["tools"]["add"]["dropped"] == 1
    assert {one.trial_id for one in examples_of(store)} == {"add-1"}


def test_without_the_tools_none_is_trained(tmp_path: Path) -> None:
    store, _ = prepared(tmp_path, FAILING, ON, ALL, "prepare.mix.tools=false")
    assert not rows_of(store)
    assert not any(one.failed_calls for one in examples_of(store))


def test_recovery_is_tested_without_any_model_and_without_training_on_it(tmp_path: Path) -> None:
    store, _ = prepared(tmp_path, FAILING, "prepare.tests.recovery=3")
    explicit = read_records(store, "prepare/examples/part-00000.parquet", Example)
    tests = read_records(store, "prepare/examples/kinds-00000.parquet", Example)
    held_out = {one.trial_id: one for one in explicit if one.split == "test"}
    assert Counter(one.tool for one in tests) == {"add": 3, "sub": 3}
    for one in tests:
        source = held_out[one.trial_id]
        assert (one.kind, one.split, one.origin) == ("recovery", "test", "generated")
        assert (one.query, one.arguments_json, one.group_id) == (
            source.query, source.arguments_json, source.group_id,
        )  # fmt: skip
        (failed,) = one.failed_calls
        assert failed.observation == f"seen {int(one.trial_id.partition('-')[2]) + 1000}"
        assert one.example_id != source.example_id
    assert not any(one.failed_calls for one in explicit)
    assert {row.kind for row in rows_of(store)} == {"tool_call", "final_answer"}
    made = read_records(store, layout.MADE_TESTS, MadeTest)
    assert {one.status for one in made} == {"kept"}


def test_a_tool_that_mended_nothing_is_told(tmp_path: Path) -> None:
    trials = [asked("add", n) for n in range(30)]
    store, _ = prepared(tmp_path, trials, "prepare.tests.recovery=3")
    (one,) = read_records(store, layout.MADE_TESTS, MadeTest)
    assert (one.status, one.reason) == ("dropped", "no request of the test split mended a call")


def test_old_runs_are_what_they_were_and_new_keys_count_where_they_change_something() -> None:
    plain = load_config(None, []).stage_fingerprint("prepare")
    same = ["prepare.trajectories=last_call", "prepare.correction_fraction=0.5"]
    assert load_config(None, same).stage_fingerprint("prepare") == plain
    others = {
        load_config(None, more).stage_fingerprint("prepare")
        for more in ([ON], [ON, ALL], ["prepare.tests.recovery=1"])
    }
    assert len(others | {plain}) == 4
    bare = ["prepare.judge=false", "prepare.max_paraphrases=0", "prepare.tests.recovery=1"]
    assert load_config(None, bare).stage_roles("prepare") == ()

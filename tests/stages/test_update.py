"""An update planned, and its data put together, without Ray: what stays, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.preparing.ledger import LedgerTotals
from ste_ray.core.records import Episode, Example, Judgment, LedgerEntry, TrainRow
from ste_ray.errors import ConfigError, RunConflictError, StageInputError
from ste_ray.stages.base import StageContext, read_specs
from ste_ray.stages.inputs import input_fingerprints
from ste_ray.stages.train.rows import rows_folder
from ste_ray.stages.update.carrying import carry_data, carry_exploration
from ste_ray.stages.update.estimating import estimate_lines, estimate_update
from ste_ray.stages.update.exploring import earlier_memory, exploring_context, preparing_config
from ste_ray.stages.update.planning import plan_update
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import declare_stage, read_manifest
from ste_ray.store.tables import read_records
from tests.trained_run import HELD_OUT, SETTING, shipped_specs, write_data, write_trained_run

OLD = ("add_date", "airport", "isbn_convert", "roman_encode")
KEPT = ("add_date", "roman_encode")


@pytest.fixture
def old(tmp_path: Path) -> RunStore:
    return write_trained_run(tmp_path / "old", OLD)


@pytest.fixture
def tools(tmp_path: Path) -> str:
    """A file of tools: one is changed, one is new, one is gone."""
    specs = shipped_specs([*KEPT, "airport", "vat_check"])
    listed = [one.model_dump(mode="json", exclude_defaults=True) for one in specs]
    changed = next(one for one in listed if one["name"] == "airport")
    changed["parameters"]["properties"]["iata"]["maxLength"] = 3
    file = tmp_path / "tools.json"
    file.write_text(json.dumps({"tools": listed}))
    return str(file)


def context(folder: Path, tools: str, *overrides: str) -> StageContext:
    config = load_config(None, [f"tools.files=[{tools}]", *overrides])
    return StageContext(config=config, store=open_store(str(folder)), progress=print)


def test_a_plan_says_what_is_done_and_goes_on_from_the_model(old, tools, tmp_path):
    update = plan_update(context(tmp_path / "new", tools, "infer.execute=[base/icl]"), old)
    groups = update.groups
    assert groups.kept == KEPT
    assert (groups.changed, groups.added, groups.removed) == (
        *(("airport",), ("vat_check",)),
        ("isbn_convert",),
    )
    assert groups.parameters == {"airport": ("iata",)}
    assert update.config.train.model.base == old.address(layout.TUNED_MODEL)
    assert update.config.train.retire_tools == ("isbn_convert",)
    assert update.config.infer.settings == (SETTING,)
    assert update.config.infer.execute == ()
    assert not (tmp_path / "new").exists()


def refused(old, tools, folder, *overrides):
    return plan_update(context(folder, tools, *overrides), old)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["train.format=native", "infer.settings=[tuned/native]"], "train.format='native'"),
        (["train.model.base=another/model"], "another/model"),
        (["infer.settings=[base/icl]"], "must end with a setting of the trained"),
        (["infer.settings=[tuned/toolken, tuned/icl]"], "allowed: tuned/toolken"),
        (["prepare.no_call.held_out_tools=[add_date]"], "held_out_tools=['add_date']"),
    ],
)
def test_another_kind_of_model_is_refused(overrides, told, old, tools, tmp_path):
    with pytest.raises(ConfigError) as found:
        refused(old, tools, tmp_path / "new", *overrides)
    assert told in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("stage", ["explore", "prepare", "train", "infer", "evaluate"])
def test_a_run_that_is_not_complete_is_refused(stage, old, tools, tmp_path):
    old.delete(layout.manifest(stage))
    with pytest.raises(
        StageInputError, match=f"{stage} is not complete in .*; run 'ste-ray {stage}"
    ):
        refused(old, tools, tmp_path / "new")


def test_a_run_that_was_stopped_or_has_no_model_is_refused(old, tools, tmp_path):
    old.delete_folder(layout.TUNED_MODEL)
    with pytest.raises(StageInputError, match="holds no model"):
        refused(old, tools, tmp_path / "new")
    manifest = read_manifest(old, "explore").model_dump(mode="json")
    old.write_json(layout.manifest("explore"), {**manifest, "stopped_by": "the budget"})
    with pytest.raises(StageInputError, match=r"explore was stopped \(the budget\)"):
        refused(old, tools, tmp_path / "new")


def test_nothing_to_update_and_the_same_run_are_refused(old, tools, tmp_path):
    include = f"tools.include=[{', '.join(OLD)}]"
    with pytest.raises(StageInputError, match="nothing to update"):
        refused(old, "builtin", tmp_path / "new", include)
    with pytest.raises(ConfigError, match="update of itself"):
        refused(old, tools, tmp_path / "old")


def test_a_run_that_holds_something_else_is_refused(old, tools, tmp_path):
    new = tmp_path / "new"
    update = refused(old, tools, new)
    open_store(str(new)).write_json(layout.UPDATE, update.plan.model_dump(mode="json"))
    assert refused(old, tools, new).plan == update.plan  # the same goes on
    with pytest.raises(RunConflictError, match="of other tools"):
        refused(old, "builtin", new, "tools.include=[add_date]")
    other = write_trained_run(tmp_path / "other", [*OLD, "unit_convert"])
    with pytest.raises(RunConflictError, match="holds an update from"):
        refused(other, tools, new)
    with pytest.raises(RunConflictError, match="holds explore of its own"):
        refused(old, tools, write_begun(tmp_path / "begun"))


def write_begun(folder):
    declare_stage(open_store(str(folder)), "explore", {}, {}, started_at=0.0)
    return folder


def test_it_is_told_what_would_be_explored_and_what_it_takes(old, tools, tmp_path):
    one = context(tmp_path / "new", tools, "explore.episodes_per_tool=2")
    update = plan_update(one, old)
    found = estimate_update(one, update)
    assert found["explore"]["tools"] == 2
    assert found["explore"]["trials"] == 2 * 2 * 4
    assert found["taken_over"] == {"tools": 2, "train": 8, "test": 2}
    assert found["replayed"] == 1
    text = estimate_lines(found)
    assert "removed   isbn_convert" in text
    assert "explore: 2 tools, 16 trials" in text
    assert not (tmp_path / "new").exists()

    # Requests that are remembered make prompts longer.
    def tokens(section):
        return section["expected"]["prompt_tokens"]

    assert earlier_memory(update)["airport"]  # their calls give no parameter that changed
    forgetful = context(
        tmp_path / "new", tools, "explore.episodes_per_tool=2", "explore.long_term_memory=false"
    )
    without = estimate_update(forgetful, plan_update(forgetful, old))
    assert tokens(found["explore"]) > tokens(without["explore"]) > 0


def explored(update, store):
    """Write the runs of the new and changed tools, as if they had been explored and prepared."""
    names = update.groups.explored
    write_data(store.below(layout.UPDATE_EXPLORED), shipped_specs(names), names, 4)
    specs = list(update.tools.specs.values())
    write_data(store.below(layout.UPDATE_PREPARED), specs, names, 4)
    store.below(layout.UPDATE_PREPARED).delete(layout.GENERAL_ROWS)


def carried(one, update):
    explored(update, one.store)
    carry_exploration(one.for_stage(), update)
    carry_data(one.for_stage(), update)


def contents(store):
    return {
        path: store.read_bytes(path)
        for path in store.list()
        if path.startswith(("explore/", "prepare/")) and "manifest" not in path
    }


def test_what_is_of_kept_tools_stays_byte_for_byte_and_the_rest_is_added(old, tools, tmp_path):
    one = context(tmp_path / "new", tools)
    update = plan_update(one, old)
    carried(one, update)
    new = one.store
    for folder, model in (
        *((layout.EPISODES, Episode), (layout.EXAMPLES, Example), (layout.LEDGER, LedgerEntry)),
        (layout.ROWS, TrainRow),
    ):
        before = [item for item in read_records(old, folder, model) if item.tool in KEPT]
        now = [item for item in read_records(new, folder, model) if item.tool in KEPT]
        assert before
        assert [item.model_dump_json() for item in now] == [
            item.model_dump_json() for item in before
        ]
    assert new.read_bytes(layout.GENERAL_ROWS) == old.read_bytes(layout.GENERAL_ROWS)
    episodes = read_records(new, layout.EPISODES, Episode)
    assert [item.tool for item in episodes] == sorted(item.tool for item in episodes)
    assert {item.tool for item in episodes} == {*KEPT, "airport", "vat_check"}
    trials = {item.trial_id for item in read_records(new, layout.JUDGMENTS, Judgment)}
    assert trials == {trial.trial_id for item in episodes for trial in item.trials}
    assert list(read_specs(new)) == sorted({*KEPT, "airport", "vat_check"})
    assert read_specs(new)["airport"].parameters["properties"]["iata"]["maxLength"] == 3
    assert [item["name"] for item in new.read_json(layout.PREPARED_TOOLS)] == list(read_specs(new))
    totals = LedgerTotals.model_validate(new.read_json(layout.LEDGER_TOTALS))
    assert {item.tool: item.train for item in totals.tools} == {
        "add_date": 4,
        "airport": 2,
        "roman_encode": 4,
        "vat_check": 2,
    }
    manifest = read_manifest(new, "prepare")
    assert manifest.counts["rows"] == len(read_records(new, layout.ROWS, TrainRow))
    assert any("was taken over from the run" in note for note in manifest.notes)


def test_requests_of_a_removed_tool_are_tests_and_rows_that_no_tool_fits(old, tools, tmp_path):
    one = context(tmp_path / "new", tools)
    carried(one, plan_update(one, old))
    examples = read_records(one.store, layout.EXAMPLES, Example)
    (test,) = [item for item in examples if not item.needs_call]
    assert test.query == "Request 0 for isbn_convert?"
    assert test.near_tool in (*KEPT, "airport", "vat_check")
    rows = read_records(one.store, layout.ROWS, TrainRow)
    absent = [row for row in rows if row.kind == "no_call"]
    assert [(row.tool, row.split) for row in absent if row.tool != HELD_OUT] == [
        ("isbn_convert", "validation"),
        *[("isbn_convert", "train")] * 4,
    ]
    assert sum(row.tool == HELD_OUT for row in absent) == 1
    seen = {row.dialog_history[-1].content for row in rows}
    assert test.query not in seen


def test_training_reads_all_new_rows_and_a_sample_of_the_others(old, tools, tmp_path):
    one = context(tmp_path / "new", tools, "prepare.mix.replay_fraction=0.5")
    carried(one, plan_update(one, old))
    store = one.store
    assert rows_folder(old) == layout.ROWS
    rows = read_records(store, rows_folder(store), TrainRow)
    training = [row.tool for row in rows if row.split == "train"]
    assert [training.count(name) for name in (*KEPT, "airport", "isbn_convert")] == [2, 2, 2, 4]
    checked = {row.tool for row in rows if row.split == "validation"}
    assert checked == {*KEPT, "airport", "vat_check", "isbn_convert"}
    counts = read_manifest(store, "prepare").counts
    assert counts["trained_rows"] == len(training)
    assert counts["training_rows"] == 4 + 4 + 2 + 2 + 4 + 2


def test_what_was_cut_off_comes_out_the_same(old, tools, tmp_path):
    whole, cut = (context(tmp_path / name, tools) for name in ("whole", "cut"))
    carried(whole, plan_update(whole, old))
    update = plan_update(cut, old)
    carried(cut, update)
    for stage in ("explore", "prepare"):
        cut.store.delete(layout.manifest(stage))
    cut.store.write_bytes(layout.part(layout.ROWS, 0), b"half")
    cut.store.write_bytes(layout.part(layout.EPISODE_PARTS, 7), b"half")
    carry_exploration(cut.for_stage(), update)
    carry_data(cut.for_stage(), update)
    assert contents(cut.store) == contents(whole.store)
    before = read_manifest(cut.store, "prepare")
    carry_data(cut.for_stage(), update)
    assert read_manifest(cut.store, "prepare") == before


def test_exploration_is_of_new_and_changed_tools_and_remembers(old, tools, tmp_path):
    one = context(tmp_path / "new", tools)
    update = plan_update(one, old)
    child = one.store.below(layout.UPDATE_EXPLORED)
    inner = exploring_context(one, update, child)
    assert list(inner.configured_tools.specs) == ["airport", "vat_check"]
    assert inner.config.tools.include == ("airport", "vat_check")
    memory = earlier_memory(update)
    assert [entry["query"] for entry in memory["airport"]] == [
        f"Request {number} for airport?" for number in range(6)
    ]
    assert "vat_check" not in memory
    before = input_fingerprints("explore", inner)
    child.write_json(layout.EARLIER_MEMORY, memory)
    now = input_fingerprints("explore", inner)
    assert before == {name: value for name, value in now.items() if name != "remembered"}
    assert now["remembered"]


def test_general_data_are_not_drawn_again(old, tools, tmp_path):
    overrides = ["prepare.mix.general_data=general_requests", "prepare.no_call.general=5"]
    update = plan_update(context(tmp_path / "new", tools, *overrides), old)
    section = preparing_config(update).prepare
    assert (section.mix.general_data, section.no_call.general, section.mix.rounds) == ("", 0, ())
    assert section.target_per_tool == update.config.prepare.target_per_tool

"""What becomes of a partition's trials, step by step; rules play judge and paraphraser."""

from __future__ import annotations

import asyncio
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flow_examples import PROMPTS, SPEC, called, lines, trial

from ste_ray.config import load_config
from ste_ray.core.preparing.paraphrasing import Paraphrase
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.records import Episode, Example, Judgment, LedgerEntry, TrainRow
from ste_ray.errors import BudgetExhaustedError
from ste_ray.stages.prepare.context import PrepareContext
from ste_ray.stages.prepare.outputs import RECORD_TYPES, Outputs
from ste_ray.stages.prepare.spool import Spool
from ste_ray.stages.prepare.steps import prepare_partition
from ste_ray.store.artifacts import open_store
from ste_ray.store.tables import read_records, to_table

WORDS = ("river", "castle", "orange", "window", "planet", "garden", "silver", "market")


def asked(number, tool="add", **fields):
    """A trial with a query of its own that calls ``tool`` with a number of its own."""
    words = " ".join(WORDS[(number >> shift) % 8] for shift in (0, 3, 6))
    values = {"trial_id": f"{tool}-{number}", "tool": tool, "query": f"Add {number} for {words}?"}
    turn = called("ok", number).model_copy(update={"tool": tool})
    return trial(**(values | {"turns": (turn,)} | fields))


def tables(*trials, per_table=3):
    """The trials as tables of episodes, each trial an episode."""
    episodes = [
        Episode(
            episode_id=f"e{number}",
            tool=one.tool,
            tool_fingerprint="f",
            episode_number=number,
            messages=(),
            trials=(one,),
        )
        for number, one in enumerate(trials)
    ]
    table = to_table(episodes, Episode).select(["tool", "trials"])
    return iter([table.slice(at, per_table) for at in range(0, table.num_rows, per_table)])


def judged(trial_id, **verdicts):
    yes = {"informative": "yes", "faithful": "yes", "appropriate": "yes"}
    return Judgment.model_validate({"trial_id": trial_id} | yes | verdicts)


class Models:
    """Answers flows by what they are asked for; by default the judge says yes to everything."""

    def __init__(self, verdicts=None, wordings=None):
        self.verdicts, self.wordings = verdicts or {}, wordings
        self.scopes = []
        self.in_flight = self.most_in_flight = 0

    async def __call__(self, flow, scope):
        flow.close()
        self.scopes.append(scope)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        kind, _, trial_id = scope.partition("-")
        if kind == "judge":
            return judged(trial_id, **self.verdicts.get(trial_id, {}))
        return self.wordings(trial_id)


def prepared(tmp_path, given, models, *overrides, specs=None):
    """Prepare, and return the four outputs as records, and the counts."""
    config = load_config(None, ["prepare.max_paraphrases=0", *overrides])
    specs = specs or {name: SPEC.model_copy(update={"name": name}) for name in ("add", "sub")}
    context = PrepareContext(config, specs, PROMPTS, models)
    store = open_store(str(tmp_path / "run"))
    (tmp_path / "work").mkdir(parents=True)
    with (
        Spool(tmp_path / "work/spool.arrow") as spool,
        Outputs(tmp_path / "work/outputs", "part-00000") as outputs,
    ):
        asyncio.run(prepare_partition(given, context, spool, outputs))
        outputs.upload(store)
    found = {
        kind: read_records(store, f"prepare/{kind}", model) for kind, model in RECORD_TYPES.items()
    }
    return found, outputs.result()


def statuses(found):
    return {entry.query_id: f"{entry.step}: {entry.reason}" for entry in found["ledger"]}


def test_every_trial_ends_in_the_ledger_once_with_step_and_reason(tmp_path):
    given = tables(
        asked(1),
        asked(2, outcome="out_of_turns"),
        asked(3),
        trial(trial_id="add-4", query="No call?"),
        asked(5, query=asked(1).query.upper()),
        asked(6),
        asked(7, tool="sub", query=asked(1).query),
    )
    models = Models({
        "add-3": {"faithful": "no"},
        "add-6": {"appropriate": "unparsable", "appropriate_reason": "neither yes nor no: 'Hm'"},
    })  # fmt: skip
    found, result = prepared(tmp_path, given, models)
    told = statuses(found)
    assert told["add-1-0"] == "split: "
    assert told["add-2-0"] == "select: out of turns"
    assert told["add-3-0"] == "filter: not faithful"
    assert told["add-4-0"] == "select: answered without a call"
    assert told["add-5-0"] == "deduplicate: the same query as an earlier one"
    assert told["add-6-0"].startswith("filter: unparsable verdict")
    assert told["sub-7-0"] == "split: "  # another tool
    assert len(told) == len(found["ledger"]) == 7
    assert result["counts"]["ledger"] == 7
    assert {one.trial_id for one in found["examples"]} == {"add-1", "sub-7"}
    assert {one.trial_id for one in found["judgments"]} == {
        "add-1", "add-3", "add-5", "add-6", "sub-7",
    }  # fmt: skip
    tools = result["tools"]["add"]
    assert (tools["explored"], tools["kept"], tools["dropped"]) == (6, 1, 5)
    assert sum(count for *_, count in result["reasons"]) == 5


def test_an_example_is_the_last_executed_call_and_what_followed(tmp_path):
    turns = (called("error", 1), called("ok", 2), called("rejected", 3))
    found, _ = prepared(tmp_path, tables(trial(turns)), Models())
    (example,) = found["examples"]
    assert (example.arguments_json, example.observation) == ('{"n":2}', "seen 2")
    assert (example.final_answer, example.origin) == ("It is 3.", "explored")


def test_rows_are_the_call_and_the_final_answer_of_what_is_not_tested(tmp_path):
    given = [asked(n) for n in range(40)]
    found, _ = prepared(tmp_path, tables(*given), Models())
    examples = {one.example_id: one for one in found["examples"]}
    assert len(examples) == 40
    rows = found["rows"]
    kinds = Counter((row.example_id, row.kind) for row in rows)
    wanted = [one for one in examples.values() if one.split != "test"]
    assert kinds == Counter(
        (one.example_id, kind) for one in wanted for kind in ("tool_call", "final_answer")
    )
    assert len({row.row_id for row in rows}) == len(rows)
    assert all(row.split == examples[row.example_id].split for row in rows)
    answer = next(row for row in rows if row.kind == "final_answer")
    query = examples[answer.example_id].query
    assert lines(answer.dialog_history)[:2] == ["s: ACT", f"u: {query}"]
    assert lines(answer.dialog_history)[3].startswith("u: Observation: seen ")


def test_without_tool_responses_only_calls_are_trained(tmp_path):
    off = "prepare.tool_responses=false"
    found, _ = prepared(tmp_path, tables(asked(1), asked(2), asked(3)), Models(), off)
    assert {row.kind for row in found["rows"]} == {"tool_call"}


def _answered(rows):
    return {row.example_id for row in rows if row.kind == "final_answer"}


def test_of_a_share_of_the_examples_final_answers_are_trained(tmp_path):
    given = [asked(n, tool) for tool in ("add", "sub") for n in range(120)]
    options = ["prepare.response_fraction=0.25", "prepare.validation_fraction=0.4"]
    found, _ = prepared(tmp_path / "1", tables(*given), Models(), *options)
    rows = found["rows"]
    calls = [row for row in rows if row.kind == "tool_call"]
    answered = _answered(rows)
    assert answered < {row.example_id for row in calls}
    for split in ("train", "validation"):
        for tool in ("add", "sub"):
            of_both = {row.example_id for row in calls if (row.split, row.tool) == (split, tool)}
            assert 0.08 < len(answered & of_both) / len(of_both) < 0.45
    # Data that are added move nothing: what is drawn of the half is drawn of the whole.
    half, _ = prepared(tmp_path / "2", tables(*given[:120]), Models(), *options)
    assert _answered(half["rows"]) == {
        row.example_id for row in rows if row.example_id in answered and row.tool == "add"
    }


def test_no_group_crosses_splits_and_paraphrases_stay_with_their_query(tmp_path):
    given = [
        asked(number, query=f"{asked(number).query} Case {copy}.", trial_id=f"add-{number}-{copy}")
        for number in range(60)
        for copy in range(2)
    ]

    def wordings(trial_id):
        return [Paraphrase(text=f"Wording {at} of {trial_id}", kept=True) for at in range(2)]

    options = ["prepare.max_paraphrases=2", "prepare.target_per_tool=1000"]
    options += ["prepare.near_duplicates=keep", "prepare.paraphrase_test=true"]
    found, _ = prepared(tmp_path, tables(*given), Models(wordings=wordings), *options)
    examples = found["examples"]
    assert len(examples) == 360
    splits = {}
    for one in examples:
        splits.setdefault(one.group_id, set()).add(one.split)
        splits.setdefault(one.trial_id, set()).add(one.split)
        splits.setdefault(one.arguments_json, set()).add(one.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {one.split for one in examples} == {"train", "validation", "test"}
    texts = {one.split: set() for one in examples}
    for one in examples:
        texts[one.split].add(normalise(one.query))
    assert not texts["train"] & texts["test"]


def test_added_trials_move_no_example_to_another_split(tmp_path):
    few, many = [asked(n) for n in range(50)], [asked(n) for n in range(90)]
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    before, _ = prepared(tmp_path / "a", tables(*few), Models())
    after, _ = prepared(tmp_path / "b", tables(*many), Models())
    places = {one.example_id: one.split for one in after["examples"]}
    assert all(places[one.example_id] == one.split for one in before["examples"])


@pytest.mark.parametrize(
    ("mode", "dropped"),
    [("keep", set()), ("same_call", {"add-2"}), ("any", {"add-2", "add-3"})],
)
def test_near_duplicates_are_dropped_as_configured(tmp_path, mode, dropped):
    query = "Please tell me what the sum of one and the number {} will be"
    given = [
        asked(1, query=query.format("two")),
        asked(2, query=f"{query.format('two')} thanks", turns=asked(1).turns),
        asked(3, query=query.format("six")),
        asked(4, query="Something else altogether, as a question of its own"),
        asked(5, tool="sub", query=f"{query.format('two')} again"),
    ]
    found, _ = prepared(tmp_path, tables(*given), Models(), f"prepare.near_duplicates={mode}")
    told = {e.trial_id: e.reason for e in found["ledger"] if e.step == "deduplicate"}
    assert told.keys() == dropped
    assert all("nearly the same query" in reason for reason in told.values())


def test_each_kept_example_gets_its_number_of_paraphrases(tmp_path):
    models = Models(wordings=lambda trial_id: [Paraphrase(text=f"W {trial_id}", kept=True)])
    options = ("prepare.max_paraphrases=6", "prepare.target_per_tool=40")
    given = [asked(n) for n in range(20)] + [asked(n, tool="sub") for n in range(30)]
    found, _ = prepared(tmp_path, tables(*given), models, *options)
    splits = {one.trial_id: one.split for one in found["examples"]}
    wanted = {f"paraphrase-{one}" for one, split in splits.items() if split != "test"}
    # 40 / 20 - 1 = 1 for each of the first tool; 40 / 30 - 1 is rounded to 0 for the second.
    asked_for = {scope for scope in models.scopes if scope.startswith("paraphrase-")}
    assert asked_for == {scope for scope in wanted if "-add-" in scope}
    origins = Counter((one.tool, one.origin) for one in found["examples"])
    assert origins["add", "paraphrase"] == len(asked_for)


def test_dropped_and_repeated_paraphrases_stand_in_the_ledger(tmp_path):
    def wordings(trial_id):
        if trial_id == "add-1":
            return [
                Paraphrase(text="One wording", kept=True),
                Paraphrase(text="Lost", kept=False, reason="lost the value '1'"),
                Paraphrase(text="one wording!", kept=True),
                Paraphrase(text=asked(2).query, kept=True),
            ]
        return []

    options = ["prepare.max_paraphrases=6", "prepare.paraphrase_test=true"]
    found, result = prepared(
        tmp_path, tables(asked(1), asked(2)), Models(wordings=wordings), *options
    )
    told = statuses(found)
    assert told["add-1-1"] == "split: "
    assert told["add-1-2"] == "paraphrase: lost the value '1'"
    assert told["add-1-3"] == told["add-1-4"]
    assert told["add-1-3"] == "paraphrase: the same query as another one of this tool"
    origins = {entry.query_id: entry.origin for entry in found["ledger"]}
    assert (origins["add-1-0"], origins["add-1-2"]) == ("explored", "paraphrase")
    assert result["tools"]["add"]["paraphrased"] == 4


def test_one_broken_row_is_one_dropped_query(tmp_path):
    (table,) = tables(asked(1), asked(2), asked(3))
    rows = table.to_pylist()
    rows[1]["trials"][0]["outcome"] = "exploded"
    rows[2]["trials"][0]["turns"] = None
    broken = pa.Table.from_pylist(rows, schema=table.schema)
    found, _ = prepared(tmp_path, iter([broken]), Models())
    told = statuses(found)
    assert told["add-1-0"] == "split: "
    assert told["add-2-0"].startswith("select: not readable: column 'outcome': 'exploded' is")
    assert told["add-3-0"].startswith("select: not readable: column 'turns': None is")
    assert {entry.query for entry in found["ledger"]} == {asked(n).query for n in (1, 2, 3)}


def test_an_id_that_comes_twice_is_asked_about_once(tmp_path):
    models = Models()
    found, _ = prepared(tmp_path, tables(asked(1), asked(2, trial_id="add-1")), models)
    assert models.scopes == ["judge-add-1"]
    reasons = [entry.reason for entry in found["ledger"] if entry.status == "dropped"]
    assert reasons == ["another trial has the same id"]


def test_a_trial_among_those_of_another_tool_is_dropped(tmp_path):
    (table,) = tables(asked(1), asked(2))
    rows = table.to_pylist()
    rows[1]["trials"][0]["tool"] = "sub"
    found, _ = prepared(tmp_path, iter([pa.Table.from_pylist(rows, schema=table.schema)]), Models())
    assert [entry.tool for entry in found["ledger"]] == ["add", "add"]
    assert "'sub' stands among the trials of 'add'" in found["ledger"][0].reason


def test_a_trial_without_turns_and_an_episode_without_trials_stop_nothing(tmp_path):
    (table,) = tables(trial(trial_id="add-9"), asked(1))
    rows = [*table.to_pylist(), {"tool": "add", "trials": []}]
    given = iter([pa.Table.from_pylist(rows, schema=table.schema)])
    found, _ = prepared(tmp_path, given, Models())
    assert statuses(found)["add-9-0"] == "select: answered without a call"
    assert len(found["examples"]) == 1


def test_optional_reasons_to_drop_a_trial(tmp_path):
    simulated = called("ok", 1).model_copy(update={"observation_source": "simulated"})
    wrong = called("ok", 3).model_copy(update={"arguments_json": '{"n":"three"}'})
    given = [
        asked(1, turns=(simulated,)),
        asked(2, turns=(called("error", 2),)),
        asked(3, turns=(wrong,)),
        asked(4),
    ]
    (tmp_path / "kept").mkdir()
    found, _ = prepared(tmp_path / "kept", tables(*given), Models())
    assert len(found["examples"]) == 4
    found, _ = prepared(
        tmp_path, tables(*given), Models(), "prepare.drop=[simulated, errors, invalid_arguments]"
    )
    told = statuses(found)
    assert told["add-1-0"] == "select: a call was simulated"
    assert told["add-2-0"] == "select: the call ended in an error of the tool"
    assert told["add-3-0"].startswith("select: the arguments do not fit the schema: Invalid")
    assert [one.trial_id for one in found["examples"]] == ["add-4"]


def test_without_a_judge_nobody_is_asked(tmp_path):
    models = Models()
    found, _ = prepared(tmp_path, tables(asked(1)), models, "prepare.judge=false")
    assert (models.scopes, found["judgments"]) == ([], [])
    assert len(found["examples"]) == 1


def test_a_held_out_tool_teaches_restraint_and_is_never_called(tmp_path):
    held_out = "prepare.no_call.held_out_tools=[sub]"
    given = [asked(1), *(asked(n, tool="sub") for n in range(20))]
    found, result = prepared(tmp_path, tables(*given), Models(), held_out)
    rows = [row for row in found["rows"] if row.kind == "no_call"]
    assert len(rows) == 20
    assert {row.response for row in rows} == {"Final Answer: NO TOOL"}
    assert {row.tool for row in rows} == {"sub"}
    assert {one.tool for one in found["examples"]} == {"add"}
    assert not any("<tool_sub>" in row.response for row in found["rows"])
    assert "train" not in result["tools"]["sub"]
    assert Counter(entry.step for entry in found["ledger"])["no call"] == 20


def test_general_data_alone_makes_no_tool_rows(tmp_path):
    found, _ = prepared(tmp_path, tables(asked(1)), Models(), "prepare.mix.tools=false")
    assert len(found["examples"]) == 1
    assert found["rows"] == []


def test_what_is_in_flight_is_bounded(tmp_path):
    models = Models()
    prepared(tmp_path, tables(*map(asked, range(200))), models, "llm.max_concurrency=4")
    assert 4 <= models.most_in_flight <= 16


def test_an_exhausted_budget_ends_the_partition_and_uploads_nothing(tmp_path):
    class Broke(Models):
        async def __call__(self, flow, scope):
            if len(self.scopes) == 5:
                raise BudgetExhaustedError("no money left")
            return await super().__call__(flow, scope)

    with pytest.raises(BudgetExhaustedError, match="no money left"):
        prepared(tmp_path, tables(*map(asked, range(50))), Broke())
    assert not (tmp_path / "run/prepare").exists()


def test_files_hold_checked_pages_and_small_row_groups(tmp_path):
    prepared(tmp_path, tables(*map(asked, range(1500)), per_table=256), Models())
    file = pq.ParquetFile(tmp_path / "run/prepare/ledger/part-00000.parquet")
    assert file.num_row_groups == 2
    assert {kind.name for kind in (tmp_path / "run/prepare").iterdir()} == set(RECORD_TYPES)
    assert {Example, LedgerEntry, TrainRow, Judgment} == set(RECORD_TYPES.values())

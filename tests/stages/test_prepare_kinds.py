"""Tests of other kinds in a partition: of held-out requests alone, none that is trained on."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
from flow_examples import PROMPTS, SPEC, called, trial

from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.preparing.formatting import general_no_call_row, general_row
from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.records import Episode, Example, MadeTest, Message, TrainRow, Trial
from ste_ray.core.test_making.making import Wanted
from ste_ray.core.test_making.repeated import REPEATED, repeated_tests
from ste_ray.retrieval.config import RetrieveConfig
from ste_ray.retrieval.encoder import make_encoder
from ste_ray.retrieval.index import RetrievalIndex
from ste_ray.stages.prepare import kinds as making
from ste_ray.stages.prepare.context import PrepareContext
from ste_ray.stages.prepare.made_tests import search_requests, take_out
from ste_ray.stages.prepare.outputs import Outputs
from ste_ray.stages.prepare.pairs import Neighbourhood
from ste_ray.stages.prepare.spool import Spool
from ste_ray.stages.prepare.steps import prepare_partition
from ste_ray.stages.shared.trained_requests import files_of_trained_requests
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.tables import parquet_files, read_records, to_table, write_records

SPECS = {name: SPEC.model_copy(update={"name": name}) for name in ("add", "sub")}
NEAR = Neighbourhood(
    {"add": [("sub", 0.9)], "sub": [("add", 0.9)]}, confused={}, retrieved=lambda request: ["sub"]
)


def asked(tool: str, number: int, **fields: Any) -> Trial:
    turn = called("ok", number).model_copy(update={"tool": tool})
    values: dict[str, Any] = {
        "trial_id": f"{tool}-{number}",
        "tool": tool,
        "query": f"{tool} number {number * 7919} of {number} and {'abcdefgh'[number % 8] * 9}?",
        "turns": (turn,),
    }
    return trial(**(values | fields))


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


def made_of(wanted: Wanted, *queries: str) -> list[MadeTest]:
    """What a flow makes: of each source the query that is said here, all of them kept."""
    return [
        MadeTest(
            test_id=f"{wanted.kind} {wanted.tool.name} {number}",
            kind=wanted.kind,
            about=wanted.tool.name,
            near_tool="" if wanted.kind == "natural" else "sub",
            missing="n" if wanted.kind == "missing_argument" else "",
            trial_id=source.trial_id,
            query=query,
            status="kept",
            step="check",
            reason="",
        )
        for number, (source, query) in enumerate(zip(wanted.sources, queries, strict=False))
    ]


class Models:
    """Keeps the flows of tests, and answers them by a rule."""

    def __init__(self, monkeypatch: Any, *queries: str) -> None:
        self.wanted: dict[str, Wanted] = {}
        self._queries = queries
        monkeypatch.setattr(making, "make_tests_flow", self._flow)

    def _flow(self, wanted: Wanted, material: Any) -> Wanted:
        self.wanted[wanted.scope] = wanted
        return wanted

    async def __call__(self, flow: Any, scope: str) -> Any:
        assert flow is self.wanted[scope]
        return made_of(flow, *self._queries)


def prepared(
    tmp_path: Path, trials: list[Trial], models: Models, *overrides: str
) -> tuple[RunStore, dict[str, Any]]:
    config = load_config(None, ["prepare.judge=false", "prepare.max_paraphrases=0", *overrides])
    context = PrepareContext(config, SPECS, PROMPTS, models, NEAR, {"sub": "played"})
    store = open_store(str(tmp_path / "run"))
    (tmp_path / "work").mkdir()
    with (
        Spool(tmp_path / "work/spool.arrow") as spool,
        Outputs(tmp_path / "work/outputs", "part-00003", makes_tests=True) as outputs,
    ):
        asyncio.run(prepare_partition(tables(trials), context, spool, outputs))
        outputs.upload(store)
    return store, outputs.result()


def test_tests_are_made_of_the_test_split_and_stand_in_a_file_of_their_own(
    tmp_path: Path, monkeypatch: Any
) -> None:
    models = Models(monkeypatch, "one", "two")
    trials = [asked(tool, number) for tool in SPECS for number in range(40)]
    store, result = prepared(
        tmp_path, trials, models, "prepare.tests={natural: 2, missing_argument: 1}"
    )
    explicit = read_records(store, "prepare/examples/part-00003.parquet", Example)
    found = read_records(store, "prepare/examples/kinds-00003.parquet", Example)
    held_out = {one.trial_id for one in explicit if one.split == "test"}
    assert set(models.wanted) == {
        f"tests-{kind}-{tool}" for kind in ("natural", "missing_argument") for tool in SPECS
    }
    for wanted in models.wanted.values():
        trial_ids = {source.trial_id for source in wanted.sources}
        assert trial_ids == {key for key in held_out if key.startswith(wanted.tool.name)}
        assert wanted.not_executed == ("played" if wanted.tool.name == "sub" else "")
        assert wanted.near is not None
        assert [one.name for one in wanted.retrieved("anything")] == ["sub"]
    assert Counter((one.kind, one.tool) for one in found) == {
        ("natural", "add"): 2, ("natural", "sub"): 2,
    }  # fmt: skip
    by_trial = {one.trial_id: one for one in explicit}
    for one in found:
        source = by_trial[one.trial_id]
        assert (one.split, one.origin, one.group_id) == ("test", "generated", source.group_id)
        assert (one.arguments_json, one.observation) == (source.arguments_json, source.observation)
    # "one" and "two" stood there already when the second kind came.
    made = read_records(store, layout.MADE_TESTS, MadeTest)
    assert Counter((one.kind, one.status, one.step) for one in made) == {
        ("natural", "kept", "check"): 4, ("missing_argument", "dropped", "train"): 4,
    }  # fmt: skip
    assert result["counts"]["kinds"] == 4
    assert result["tools"]["add"]["test"] == sum(
        one.tool == "add" and one.split == "test" for one in explicit
    )
    rows = read_records(store, layout.ROWS, TrainRow)
    assert not {one.example_id for one in found} & {row.example_id for row in rows}


def test_a_test_without_a_call_has_neither_tool_nor_arguments(
    tmp_path: Path, monkeypatch: Any
) -> None:
    models = Models(monkeypatch, "Add to it.")
    store, _ = prepared(
        tmp_path,
        [asked("add", n) for n in range(40)],
        models,
        "prepare.tests={missing_argument: 1}",
    )
    (one,) = read_records(store, "prepare/examples/kinds-00003.parquet", Example)
    assert (one.tool, one.arguments_json, one.observation, one.final_answer) == ("", "", "", "")
    assert (one.kind, one.near_tool, one.missing, one.split) == (
        "missing_argument", "sub", "n", "test",
    )  # fmt: skip
    assert not one.needs_call


def test_what_training_has_is_no_test(tmp_path: Path, monkeypatch: Any) -> None:
    trials = [asked("add", number) for number in range(40)]
    models = Models(monkeypatch, trials[0].query.upper(), trials[1].query, "new")
    store, _ = prepared(tmp_path, trials, models, "prepare.tests={natural: 3}")
    made = read_records(store, layout.MADE_TESTS, MadeTest)
    assert [(one.status, one.reason) for one in made] == [
        ("dropped", "the same request as another one of this tool"),
        ("dropped", "the same request as another one of this tool"),
        ("kept", ""),
    ]


def test_held_out_tools_get_none(tmp_path: Path, monkeypatch: Any) -> None:
    models = Models(monkeypatch, "one")
    trials = [asked(tool, number) for tool in SPECS for number in range(40)]
    prepared(
        tmp_path, trials, models, "prepare.tests={natural: 1}",
        "prepare.no_call.held_out_tools=[sub]",
    )  # fmt: skip
    assert set(models.wanted) == {"tests-natural-add"}
    assert models.wanted["tests-natural-add"].near is None
    assert models.wanted["tests-natural-add"].others == []


def test_pairs_are_those_that_were_confused_then_those_that_are_alike() -> None:
    near = Neighbourhood(
        {"a": [("b", 0.9)], "b": [("a", 0.1)], "c": [("a", 0.2)]},
        {"a": ["gone", "c", "b"]},
        lambda request: [],
    )
    assert near.near("a", []) == "c"  # in an evaluation, as far as the tool is there
    assert near.near("b", []) == ""
    assert near.near("b", ["c"]) == "c"  # by the explorer
    assert near.near("c", ["c"]) == ""


def test_the_judge_is_shown_what_inference_offers() -> None:
    about = [f"Tells the {thing} of a place." for thing in ("rain", "snow", "tide", "wind")]
    tools = {
        f"t{n}": SPEC.model_copy(update={"name": f"t{n}", "description": about[n % 4] + f" {n}"})
        for n in range(40)
    }
    tools["flood"] = SPEC.model_copy(
        update={"name": "flood", "description": "Warns of rivers that rise above their banks."}
    )
    query = "Will the river rise above its banks tonight?"
    test = Example(
        example_id="e", group_id="g", trial_id="t", tool="t0", query=query, origin="generated",
        arguments_json="{}", observation="", final_answer="", split="test",
    )  # fmt: skip
    config = RetrieveConfig(num_demonstrations=0)
    (offered,) = RetrievalIndex(
        make_encoder(config.encoder), list(tools.values()), [], config
    ).retrieve([test])
    near = Neighbourhood.of(tools, {})
    assert near.retrieved(query) == [one.key for one in offered.tools]
    assert near.retrieved(query)[0] == "flood"
    assert "flood" not in {name for name, _ in near.likest["t0"]}


def test_other_tools_that_were_called_are_counted(tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    other = [called("rejected").model_copy(update={"tool": name}) for name in ("sub", "mul", "mul")]
    with Outputs(tmp_path / "o", "part-00000") as outputs:
        outputs.note_calls(asked("add", 1, turns=(*other, called("ok"))))
        assert outputs.called_instead("add") == ["mul", "sub"]
        assert outputs.called_instead("sub") == []


def test_requests_of_other_tools_are_looked_up(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    rows = [
        Example(
            example_id=str(n), group_id="g", trial_id="t", tool="add", query=f"Query {n}!",
            origin="explored", arguments_json="{}", observation="", final_answer="", split=split,
        )
        for n, split in enumerate(("train", "validation", "test"))
    ]  # fmt: skip
    path = layout.part(layout.EXAMPLES, 0)
    write_records(store, path, rows, Example)
    wanted = {"query 0", "query 1", "query 2", "query 3"}
    assert files_of_trained_requests(store) == [path]
    assert search_requests(store, path, wanted) == ({"query 0", "query 1"}, {"query 2"})


def test_requests_that_stand_in_training_rows_alone_are_looked_up(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """Those of tools that are held out, and of general data in each turn of a user."""
    trials = [asked(tool, number) for tool in SPECS for number in range(40)]
    store, _ = prepared(
        tmp_path, trials, Models(monkeypatch), "prepare.no_call.held_out_tools=[sub]"
    )
    general = [
        general_row(
            (
                Message(role="user", content="Who is <tool_add>?"),
                Message(role="assistant", content="Nobody"),
                Message(role="user", content="And why?"),
            ),
            "So", "train", PROMPTS,
        ),
        general_no_call_row((Message(role="user", content="Say hi"),), "Hi", "train", PROMPTS),
    ]  # fmt: skip
    write_records(store, layout.GENERAL_ROWS, general, TrainRow)
    held_out = normalise(trials[-1].query)
    wanted = {held_out, "say hi", "hi", "nobody", "so", *map(normalise, (
        "who is <tool_add>?", "and why?", general[0].dialog_history[0].content))}  # fmt: skip
    found = {
        text
        for path in files_of_trained_requests(store)
        for text in search_requests(store, path, wanted)[0]
    }
    assert found == {held_out, "say hi", normalise("who is <tool_add>?"), "and why"}


def test_a_request_that_tests_of_two_tools_have_is_kept_once(
    tmp_path: Path, monkeypatch: Any
) -> None:
    trials = [asked(tool, number) for tool in SPECS for number in range(40)]
    models = Models(monkeypatch, "Where is the other one?", "What a day!")
    store, _ = prepared(tmp_path, trials, models, "prepare.tests={no_tool: 2}")
    (part,) = parquet_files(store, layout.MADE_TESTS)
    path = layout.kinds_part("part-00003")
    asked_by = Counter(one.query for one in read_records(store, path, Example))
    assert asked_by == {"Where is the other one?": 2, "What a day!": 2}
    for _ in range(2):  # also where it was cut off in between
        take_out(store, part, repeated_tests(read_records(store, part, MadeTest), set()))
        asked_by = Counter(one.query for one in read_records(store, path, Example))
        assert asked_by == {"Where is the other one?": 1, "What a day!": 1}
        told = Counter((one.step, one.reason) for one in read_records(store, part, MadeTest))
        assert told == {("check", ""): 2, ("train", REPEATED): 2}

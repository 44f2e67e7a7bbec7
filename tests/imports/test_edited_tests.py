"""The tests of a run go out to a file, are edited, and come in again; every mistake is named."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ste_ray.cli.main import main
from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.preparing.formatting import absent_tool_row, general_row
from ste_ray.core.records import Example, FailedCall, Message, TestDialog, TrainRow
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import RunConflictError, StageInputError
from ste_ray.imports.predictions import read_predictions
from ste_ray.imports.test_sets import read_test_set
from ste_ray.stages.base import StageContext, load_prompts
from ste_ray.stages.imports.edited_tests import import_edited_tests
from ste_ray.stages.imports.test_sets import import_tests
from ste_ray.stages.inputs import input_fingerprints
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import begin_stage, declare_stage, read_manifest
from ste_ray.store.tables import read_records, write_records

SPECS = {
    name: ToolSpec(
        name=name,
        description="d",
        parameters={
            "type": "object",
            "properties": {"n": {"type": "integer"}, "unit": {"type": "string"}},
            "required": ["n"],
            "additionalProperties": False,
        },
        executor={"kind": "python", "target": "m:f"},
    )
    for name in ("double", "halve")
}


def example(number: int, split: str = "test", **fields: Any) -> Example:
    values: dict[str, Any] = {
        "example_id": f"e{number}",
        "group_id": f"g{number}",
        "trial_id": f"t{number}",
        "tool": "double",
        "query": f"Double {number}.",
        "origin": "explored",
        "arguments_json": json.dumps({"n": number}, separators=(",", ":")),
        "observation": str(2 * number),
        "final_answer": f"It is {2 * number}.",
        "split": split,
    }
    return Example.model_validate(values | fields)


NO_CALL = {"tool": "", "arguments_json": "", "observation": "", "final_answer": ""}
NEAR = {"kind": "missing_argument", "tool": "", "arguments": {}}
EXAMPLES = (
    example(1, "train"),
    example(2, "validation"),
    example(3),
    example(4, kind="natural", origin="generated", query="twice 4, pls"),
    example(5, kind="missing_argument", near_tool="double", missing="n", query="Twice.", **NO_CALL),
)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    run = open_store(str(tmp_path / "run"))
    run.write_json(layout.TOOLS, [one.model_dump(mode="json") for one in SPECS.values()])
    write_records(run, layout.part(layout.EXAMPLES, 0), EXAMPLES[:3], Example)
    write_records(run, f"{layout.EXAMPLES}/kinds-00000.parquet", EXAMPLES[3:], Example)
    declare_stage(run, "prepare", {"made": "here"}, {}, started_at=0.0)
    return run


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def edit(path: Path, lines: list[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), "utf-8")
    return str(path)


def examples(store: RunStore) -> dict[str, Example]:
    found = read_records(store, layout.EXAMPLES, Example)
    assert len({one.example_id for one in found}) == len(found)
    return {one.example_id: one for one in found}


def test_unchanged_rows_come_in_as_they_went_out(store: RunStore, tmp_path: Path, capsys) -> None:
    out = tmp_path / "tests.jsonl"
    before = read_manifest(store, "prepare")
    assert main(["tests", "export", "--run", store.uri, "--out", str(out)]) == 0
    assert rows(out) == [
        {"id": "e3", "kind": "explicit", "query": "Double 3.", "tool": "double",
         "arguments": {"n": 3}},
        {"id": "e4", "kind": "natural", "query": "twice 4, pls", "tool": "double",
         "arguments": {"n": 4}},
        {"id": "e5", "kind": "missing_argument", "query": "Twice.", "tool": "",
         "near_tool": "double", "missing": "n"},
    ]  # fmt: skip
    capsys.readouterr()
    assert main(["tests", "import", str(out), "--run", store.uri, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tests"] == {
        "explicit": 1, "natural": 1, "missing_argument": 1, "new_or_changed": 0,
    }  # fmt: skip
    assert examples(store) == {one.example_id: one for one in EXAMPLES}
    assert read_manifest(store, "prepare") == before  # so that what was trained stays


def test_what_was_not_edited_comes_in_whatever_the_run_holds(
    store: RunStore, tmp_path: Path, capsys
) -> None:
    """A run of an earlier version may hold a request twice, or one that training has."""
    odd = [
        *EXAMPLES[3:],
        example(6, kind="no_tool", near_tool="double", query="Twice!", **NO_CALL),
        example(7, kind="natural", query="twice"),
        example(8, query="Double 1."),
    ]
    write_records(store, f"{layout.EXAMPLES}/kinds-00000.parquet", odd, Example)
    before = examples(store)
    out = tmp_path / "tests.jsonl"
    assert main(["tests", "export", "--run", store.uri, "--out", str(out)]) == 0
    edited = rows(out)
    edited[0]["query"] = "TWICE"
    assert main(["tests", "import", edit(tmp_path / "e.jsonl", edited), "--run", store.uri]) == 2
    assert "it is the same test as" in capsys.readouterr().err
    assert main(["tests", "import", str(out), "--run", store.uri]) == 0
    assert examples(store) == before


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\u0085", "\x0b", "\x1c", "\r", "\n"])
def test_texts_may_hold_what_ends_a_line_elsewhere(
    store: RunStore, tmp_path: Path, end: str
) -> None:
    odd = example(4, kind="natural", query=f"twice{end}4")
    write_records(store, f"{layout.EXAMPLES}/kinds-00000.parquet", [odd], Example)
    out = tmp_path / "tests.jsonl"
    assert main(["tests", "export", "--run", store.uri, "--out", str(out)]) == 0
    assert main(["tests", "import", str(out), "--run", store.uri]) == 0
    assert examples(store)["e4"] == odd


def test_rows_are_edited_added_and_taken_out(store: RunStore, tmp_path: Path) -> None:
    lines: list[Mapping[str, Any]] = [
        {"id": "e4", "kind": "natural", "query": "4, but twice", "tool": "double",
         "arguments": {"n": 4}},
        {"id": "e3", "query": "Double 3 for me.", "tool": "double", "arguments": {"n": 33}},
        {"kind": "confusable", "query": "Half of 9", "tool": "halve", "arguments": {"n": 9},
         "near_tool": "double", "accepted": {"n": [8]}},
        {"kind": "no_tool", "query": "The root of 9", "near_tool": "halve"},
    ]  # fmt: skip
    counts = import_edited_tests(store, read_test_set(edit(tmp_path / "tests.jsonl", lines)), SPECS)
    assert counts == {
        "explicit": 1, "natural": 1, "no_tool": 1, "confusable": 1, "new or changed": 4,
    }  # fmt: skip
    found = examples(store)
    assert found["e1"] == EXAMPLES[0]
    assert found["e2"] == EXAMPLES[1]
    assert found["e4"] == EXAMPLES[3].model_copy(update={"query": "4, but twice"})
    # Of another call nothing is known of what it returned.
    assert (found["e3"].arguments_json, found["e3"].observation) == ('{"n":33}', "")
    assert found["e3"].final_answer == ""
    new = {one.kind: one for key, one in found.items() if key.startswith("test-")}
    assert (new["confusable"].near_tool, new["confusable"].accepted_json) == ("double", '{"n":[8]}')
    assert (new["no_tool"].tool, new["no_tool"].near_tool) == ("", "halve")
    assert "e5" not in found
    assert len(found) == 6


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"kind": "naturla"}, "line 2: its 'kind' is 'naturla' (did you mean 'natural'?)"),
        ({"kind": "no_tool"}, "line 2: no call is right in a test of the kind 'no_tool'"),
        ({"kind": "indirect", "tool": "", "arguments": {}}, "needs the right tool and its argum"),
        ({"kind": "confusable"}, "line 2: a confusable test needs the other one of the two tools"),
        ({"kind": "confusable", "near_tool": "double"}, "line 2: a confusable test needs the oth"),
        ({"tool": "doubble"}, "line 2: the tool 'doubble' is not in the run (did you mean 'dou"),
        ({"near_tool": "halv"}, "line 2: the near_tool 'halv' is not in the run (did you mean"),
        ({"arguments": {"n": "x"}}, "line 2: the arguments do not fit the schema of 'double'"),
        ({"arguments": [1]}, "line 2: 'arguments' is '[1]', it must be a JSON object"),
        ({"argumentz": {}}, "line 2: it has the unknown key 'argumentz' (did you mean 'arguments'"),
        ({"query": " "}, "line 2: its query is empty"),
        ({"query": "double 3"}, "line 2: it is the same test as"),
        ({"query": "double 3", "tool": "halve"}, "there a call of 'double' is right and here a ca"),
        ({"query": "double 3", "tool": "", "arguments": {}, "kind": "no_tool"}, "here no call;"),
        ({"id": "e3"}, "line 2: it has the 'id' 'e3' of"),
        ({"query": "double 1!"}, "line 2: its query stands in the training data"),
        (
            {"kind": "missing_argument", "tool": "", "arguments": {}, "near_tool": "double",
             "missing": "m"},
            "line 2: 'double' has no argument 'm'",
        ),
        (NEAR | {"near_tool": "double"}, "line 2: a test of the kind 'missing_argument' needs the"),
        (NEAR | {"missing": "n"}, "line 2: a test of the kind 'missing_argument' needs the tool"),
        (
            NEAR | {"near_tool": "double", "missing": "unit"},
            "line 2: 'double' can be called without 'unit'; what is missing must be required (n)",
        ),
        ({"missing": "n"}, "line 2: 'missing' is of tests of the kind 'missing_argument'"),
        ({"accepted": {"nn": [8]}}, "line 2: 'accepted' names 'nn' (did you mean 'n'?), no argu"),
        ({"accepted": {"uni": ["m"]}}, "line 2: 'accepted' names 'uni' (did you mean 'unit'?)"),
        ({"accepted": {"n": [8, "x"]}}, "line 2: 'accepted': the value does not fit the schema of"),
        ({"id": "e33"}, "line 2: no test of the run has the 'id' 'e33' (did you mean 'e3'?)"),
        ({"id": "e1"}, "line 2: no test of the run has the 'id' 'e1'"),  # it is a training example
    ],
)  # fmt: skip
def test_every_mistake_is_named_by_its_line(
    store: RunStore, tmp_path: Path, capsys, row: dict[str, Any], message: str
) -> None:
    good = {"id": "e3", "query": "Double 3.", "tool": "double", "arguments": {"n": 3}}
    bad = {"query": "Double 7.", "tool": "double", "arguments": {"n": 7}} | row
    path = edit(tmp_path / "tests.jsonl", [good, bad])
    before = examples(store)
    assert main(["tests", "import", path, "--run", store.uri]) == 2
    assert message in capsys.readouterr().err
    assert examples(store) == before


@pytest.mark.parametrize("query", ["tell me a SECRET", "Say <tool_add> twice!"])
def test_what_stands_in_training_rows_alone_is_no_test(
    store: RunStore, tmp_path: Path, query: str
) -> None:
    prompts = load_prompts()
    dialog = (Message(role="user", content="Say <tool_add> twice"),)
    trained = [
        absent_tool_row("Tell me a secret", "halve", "train", prompts),
        general_row(dialog, "It is.", "train", prompts),
    ]
    write_records(store, layout.part(layout.ROWS, 0), trained, TrainRow)
    edited = [{"query": query, "kind": "no_tool", "near_tool": "double", "tool": ""}]
    path = edit(tmp_path / "tests.jsonl", edited)
    with pytest.raises(StageInputError, match="line 1: its query stands in the training data"):
        import_edited_tests(store, read_test_set(path), SPECS)


def test_several_mistakes_are_told_at_once(store: RunStore, tmp_path: Path) -> None:
    good = {"query": "Double 3.", "tool": "double", "arguments": {"n": 3}}
    path = edit(tmp_path / "tests.jsonl", [{**good, "kind": f"k{n}"} for n in range(5)])
    with pytest.raises(StageInputError) as caught:
        read_test_set(path)
    told = str(caught.value)
    assert all(f"line {number}: " in told for number in (1, 2, 3))
    assert told.endswith(" and 2 more")


def test_stages_that_read_the_old_tests_are_in_the_way(store: RunStore, tmp_path: Path) -> None:
    path = edit(tmp_path / "t.jsonl", [{"query": "Half 4", "tool": "halve", "arguments": {"n": 4}}])
    begin_stage(store, "retrieve", {}, "f", {})
    begin_stage(store, "train", {}, "f", {})  # which reads no tests
    with pytest.raises(RunConflictError, match=r"retrieve of .* went by the tests"):
        import_edited_tests(store, read_test_set(path), SPECS)
    store.delete_folder("retrieve")
    import_edited_tests(store, read_test_set(path), SPECS)


def test_stages_that_read_tests_know_of_the_import_and_training_does_not(
    store: RunStore, tmp_path: Path
) -> None:
    context = StageContext(load_config(None, ["infer.settings=[endpoint/plain]"]), store, print)
    stages = ("retrieve", "infer", "continual", "train")
    before = {stage: input_fingerprints(stage, context) for stage in stages}
    path = edit(tmp_path / "t.jsonl", [{"query": "Half 4", "tool": "halve", "arguments": {"n": 4}}])
    import_edited_tests(store, read_test_set(path), SPECS)
    after = {stage: input_fingerprints(stage, context) for stage in stages}
    assert after.pop("train") == before.pop("train")
    for stage, prints in after.items():
        assert prints.pop("tests")
        assert prints == before[stage]


def test_an_import_that_was_cut_off_goes_on_and_nothing_runs_before(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        {"id": "e3", "query": "Thrice? No, double 3.", "tool": "double", "arguments": {"n": 3}}
    ]
    tests = read_test_set(edit(tmp_path / "t.jsonl", lines))

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ste_ray.stages.imports.edited_tests._drop_tests", cut_off)
        with pytest.raises(KeyboardInterrupt):
            import_edited_tests(store, tests, SPECS)
    context = StageContext(load_config(None, []), store, print)
    with pytest.raises(StageInputError, match="was cut off; run 'ste-ray tests import FILE"):
        input_fingerprints("retrieve", context)
    import_edited_tests(store, tests, SPECS)
    found = examples(store)
    assert set(found) == {"e1", "e2", "e3"}
    assert (found["e3"].observation, found["e3"].query) == ("6", "Thrice? No, double 3.")
    assert input_fingerprints("retrieve", context)["tests"] == tests.fingerprint


def test_what_was_exported_makes_a_run_of_its_own_too(store: RunStore, tmp_path: Path) -> None:
    out = tmp_path / "tests.jsonl"
    main(["tests", "export", "--run", store.uri, "--out", str(out)])
    found = read_test_set(str(out))
    assert [one.kind for one in found.examples] == ["explicit", "natural", "missing_argument"]
    assert [one.near_tool for one in found.examples] == ["", "", "double"]
    assert [one.missing for one in found.examples] == ["", "", "n"]


ASKED = [
    {"role": "system", "content": "You may call double and halve."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi."},
]


@pytest.fixture
def in_dialogs(tmp_path: Path) -> RunStore:
    lines = [
        {"query": f"Double {n}", "tool": "double", "arguments": {"n": n},
         "API_name_list": ["double", "halve"],
         "dialog_history": [*ASKED, {"role": "user", "content": f"Double {n}"}]}
        for n in (3, 4)
    ]  # fmt: skip
    store = open_store(str(tmp_path / "dialogs"))
    tests = read_test_set(edit(tmp_path / "d.jsonl", lines))
    import_tests(store, tests, None, SPECS, lambda name, text: SPECS[name], print)
    return store


def asked_now(store: RunStore) -> dict[str, list[str]]:
    tests = examples(store)
    found = read_records(store, layout.DIALOGS, TestDialog)
    assert {one.example_id for one in found} == set(tests)
    assert {one.candidates for one in found} == {("double", "halve")}
    return {tests[one.example_id].query: [m.content for m in one.messages] for one in found}


def test_dialogs_go_out_and_come_in_with_their_tests(in_dialogs: RunStore, tmp_path: Path) -> None:
    before = asked_now(in_dialogs)
    out = tmp_path / "tests.jsonl"
    assert main(["tests", "export", "--run", in_dialogs.uri, "--out", str(out)]) == 0
    counts = import_edited_tests(in_dialogs, read_test_set(str(out)), SPECS)
    assert counts == {"explicit": 2, "new or changed": 0}
    assert asked_now(in_dialogs) == before
    lines = rows(out)
    lines[0]["query"] = lines[0]["dialog_history"][-1]["content"] = "Twice 3"
    new = {"query": "Half of 8", "tool": "halve", "arguments": {"n": 8},
           "API_name_list": ["double", "halve"],
           "dialog_history": [{"role": "user", "content": "Half of 8"}]}  # fmt: skip
    path = edit(tmp_path / "e.jsonl", [*lines, new])
    for _ in range(2):  # done twice, it is as if done once
        import_edited_tests(in_dialogs, read_test_set(path), SPECS)
        assert {query: told[-1] for query, told in asked_now(in_dialogs).items()} == {
            "Twice 3": "Twice 3", "Double 4": "Double 4", "Half of 8": "Half of 8",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "Twice 3"}, "line 1: its 'query' is another one, but its 'dialog_history' asks"),
        ({"dialog_history": []}, "line 1: it has no 'dialog_history', with which the run's tests"),
        (
            {"id": "", "query": "Twice 3", "dialog_history": []},
            "line 1: it has no 'dialog_history', with which the run's tests",
        ),
    ],
)
def test_a_dialog_that_would_ask_something_else_is_refused(
    in_dialogs: RunStore, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    out = tmp_path / "tests.jsonl"
    main(["tests", "export", "--run", in_dialogs.uri, "--out", str(out)])
    lines = rows(out)
    lines[0] |= change
    with pytest.raises(StageInputError, match=re.escape(message)):
        import_edited_tests(in_dialogs, read_test_set(edit(tmp_path / "e.jsonl", lines)), SPECS)


FAILED = {"arguments": {"n": "four"}, "observation": "no number"}


def test_a_test_of_recovery_goes_out_with_its_failed_calls_and_comes_in_again(
    store: RunStore, tmp_path: Path
) -> None:
    failed = (FailedCall(arguments_json='{"n":"four"}', observation="no number"),)
    recovery = example(3, kind="recovery", origin="generated", failed_calls=failed)
    recovery = recovery.model_copy(update={"example_id": "e6"})
    path = f"{layout.EXAMPLES}/kinds-00000.parquet"
    write_records(store, path, [*EXAMPLES[3:], recovery], Example)
    out = tmp_path / "tests.jsonl"
    assert main(["tests", "export", "--run", store.uri, "--out", str(out)]) == 0
    assert rows(out)[-1] == {
        "id": "e6", "kind": "recovery", "query": "Double 3.", "tool": "double",
        "arguments": {"n": 3}, "failed_calls": [FAILED],
    }  # fmt: skip
    assert main(["tests", "import", str(out), "--run", store.uri]) == 0
    assert examples(store)["e6"] == recovery
    predicted = {**rows(out)[-1], "model_output": "Action: double\nAction Input: {}"}
    (one,) = read_predictions(edit(tmp_path / "p.jsonl", [predicted]))
    assert one.failed_calls == failed


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"kind": "recovery"}, "and no other, shows calls that failed"),
        ({"failed_calls": [FAILED]}, "and no other, shows calls that failed"),
        ({"kind": "recovery", "failed_calls": "x"}, "'failed_calls' is"),
        ({"kind": "recovery", "failed_calls": [{"arguments": {}}]}, "it has no 'observation'"),
        (
            {"kind": "recovery", "failed_calls": [FAILED], "dialog_history": [
                {"role": "user", "content": "Double 3."}]},
            "leave one out",
        ),
    ],
)  # fmt: skip
def test_failed_calls_belong_to_tests_of_recovery(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    good = {"query": "Double 3.", "tool": "double", "arguments": {"n": 3}}
    with pytest.raises(StageInputError, match=re.escape(message)):
        read_test_set(edit(tmp_path / "t.jsonl", [good | row]))


def test_predictions_of_others_may_say_their_kind(tmp_path: Path) -> None:
    row = {"tool": "", "query": "Twice.", "kind": "missing_argument", "near_tool": "double",
           "model_output": "Final Answer: Which number?"}  # fmt: skip
    (one,) = read_predictions(edit(tmp_path / "p.jsonl", [row]))
    assert (one.kind, one.near_tool) == ("missing_argument", "double")
    with pytest.raises(StageInputError, match="line 1: its 'kind' is 'x'"):
        read_predictions(edit(tmp_path / "p.jsonl", [{**row, "kind": "x"}]))


def test_a_run_that_is_not_prepared_is_refused(tmp_path: Path, capsys) -> None:
    path = edit(tmp_path / "t.jsonl", [{"query": "Half 4", "tool": "halve", "arguments": {"n": 4}}])
    assert main(["tests", "import", path, "--run", str(tmp_path / "none")]) == 2
    assert "there is no run at" in capsys.readouterr().err
    assert main(["tests", "export", "--run", str(tmp_path / "none"), "--out", "x"]) == 2

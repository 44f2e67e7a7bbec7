"""Test sets and predictions of others: every form is read, every mistake named by its place."""

import json

import pytest

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.records import Example
from ste_ray.errors import StageInputError
from ste_ray.imports.predictions import read_predictions
from ste_ray.imports.rows import read_rows
from ste_ray.imports.test_sets import read_test_set
from ste_ray.store.artifacts import open_store
from ste_ray.store.tables import read_records

ROW = {"query": "q", "action": "add_date", "action_input": '{"days": 1}'}
OWN = {"query": "q", "tool": "add_date", "arguments": {"days": 1}}


def written(folder, text, name="rows.jsonl"):
    path = folder / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return str(path)


@pytest.mark.parametrize(
    "text",
    [
        [ROW, OWN],
        {"add_date": [ROW, OWN]},
        f"{json.dumps(ROW)}\n\n{json.dumps(OWN)}\n",
        f"\ufeff{json.dumps(ROW)}\r\n{json.dumps(OWN)}",
    ],
)
def test_every_form_gives_the_same_tests(tmp_path, text):
    examples = read_test_set(written(tmp_path, text)).examples
    assert [one.tool for one in examples] == ["add_date"] * 2
    assert [one.arguments_json for one in examples] == ['{"days":1}'] * 2
    assert [one.example_id[:11] for one in examples] == ["test-000000", "test-000001"]
    assert all(one.split == "test" for one in examples)


def test_dialogs_bring_their_query_candidates_and_accepted_values(tmp_path):
    dialog = [{"role": "system", "content": "S"}, {"role": "user", "content": "asked"}]
    row = {
        "dialog_history": dialog,
        "action": "a",
        "action_input": "{}",
        "accepted": {"x": [1, 2]},
        "API_name_list": ["a", "b"],
        "api_descriptions": "API_name: a\nDescription: Does a.\nAPI_name: b\nDescription: Does b.",
    }
    found = read_test_set(written(tmp_path, [row]))
    assert found.examples[0].query == "asked"
    assert found.examples[0].accepted_json == '{"x":[1,2]}'
    assert found.dialogs[0].candidates == ("a", "b")
    assert [one.content for one in found.dialogs[0].messages] == ["S", "asked"]
    assert found.descriptions == {"a": "Does a.", "b": "Does b."}


def test_queries_of_the_same_call_are_one_group_unless_it_has_no_arguments(tmp_path):
    rows = [OWN, {**OWN, "query": "other words"}, {**OWN, "arguments": {}}]
    rows.append({**rows[2], "query": "other words"})
    groups = [one.group_id for one in read_test_set(written(tmp_path, rows)).examples]
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3


NONE = {"query": "Who wrote Hamlet?"}


@pytest.mark.parametrize(
    "said",
    [
        {"tool": ""},
        {"action": None},
        {},
        {"tool": "", "arguments": {}},
        {"action_input": "{}", "action": ""},
    ],
)
def test_a_row_without_a_tool_is_a_test_that_needs_no_call(tmp_path, said):
    rows = [OWN, {**NONE, **said, "final_answer": "Shakespeare."}]
    found = read_test_set(written(tmp_path, rows))
    test = found.examples[1]
    assert (test.tool, test.arguments_json, test.accepted_json) == ("", "", "")
    assert (test.needs_call, test.final_answer, test.split) == (False, "Shakespeare.", "test")
    assert found.tools == {"add_date"}
    predicted = [{**row, "model_output": "Final Answer: x"} for row in rows]
    (_, prediction) = read_predictions(written(tmp_path, predicted))
    assert (prediction.tool, prediction.arguments_json, prediction.needs_call) == ("", "", False)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([OWN, {**NONE, "arguments": {}}], "row 2: it has no 'action' or 'tool', but 'arguments'"),
        ([{**OWN, "tool": ""}], "row 1: it has no 'action' or 'tool', but 'arguments'"),
        ([{**OWN, "tool": None}], "name the right tool, or leave both out where no call is right"),
        ([{**NONE, "tool": "", "accepted": {"a": [1]}}], "but 'accepted'"),
        ([NONE, NONE], 'nor has any other row; where no call is right, write "tool": ""'),
    ],
)
def test_a_tool_that_is_forgotten_is_no_such_test(tmp_path, rows, complaint):
    told = [{**row, "model_output": "x"} for row in rows]
    for read, found in ((read_test_set, rows), (read_predictions, told)):
        with pytest.raises(StageInputError) as raised:
            read(written(tmp_path, found))
        assert complaint in str(raised.value)


def test_needless_calls_of_a_file_are_told_beside_its_figures(tmp_path, capsys):
    call = 'Action: add_date\nAction Input: {"days": 1}'
    rows = [{**OWN, "model_output": call}]
    rows += [{**NONE, "tool": "", "model_output": text} for text in (call, "Final Answer: x", "y")]
    path = written(tmp_path, rows)
    assert main(["evaluate", "--predictions", path, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["settings"]
    assert (found["overall"]["n"], found["overall"]["correct"]["share"]) == (1, 1.0)
    assert (found["restraint"]["n"], found["restraint"]["needless_calls"]["count"]) == (3, 1)
    assert found["restraint"]["called"] == [{"tool": "add_date", "known": True, "count": 1}]
    assert main(["evaluate", "--predictions", path]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].endswith("needless calls")
    assert table[2].endswith("33.3 (6.1–79.2)")


def test_a_test_set_with_such_rows_makes_a_run(tmp_path, capsys):
    rows = [OWN, {**NONE, "tool": "", "dialog_history": [{"role": "user", "content": "asked"}]}]
    run = str(tmp_path / "run")
    command = ["import", "tests", written(tmp_path, rows), "--run", run, "--tools", "builtin"]
    assert main([*command, "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert (counts["tests"], counts["no_call_tests"], counts["dialogs"]) == (2, 1, 1)
    stored = read_records(open_store(run), layout.EXAMPLES, Example)
    assert [one.tool for one in stored] == ["add_date", ""]
    alone = ["import", "tests", written(tmp_path, [{**NONE, "tool": ""}]), "--run", f"{run}2"]
    assert main(alone) == 2
    assert "give those that the model shall leave alone by --tools" in capsys.readouterr().err
    assert main([*alone, "--tools", "builtin"]) == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is no JSON"),
        ("[]", "holds no rows"),
        ("3", "must hold JSON lines, a list"),
        ("[1]", "row 1: it is '1'; every row must be a JSON object"),
        (f"{json.dumps(OWN)}\n{{oops\n", "line 2: no JSON"),
        (f"{json.dumps(OWN)}\n[]\n", "line 2: it is '[]'"),
        ([{**OWN, "arguments": [1]}], "row 1: 'arguments' is '[1]', it must be a JSON object"),
        ([{**ROW, "action_input": "{"}], "row 1: 'action_input' is no JSON"),
        ([{**ROW, "action_input": '{"a":1} x'}], "it must be a JSON object"),
        ([{"query": "q", "tool": "a"}], "it has no 'action_input' or 'arguments'"),
        ([{"query": "q", "arguments": {}}], "it has no 'action' or 'tool'"),
        ([{**OWN, "tool": 3}], "'tool' is '3', it must be text"),
        ([{**OWN, "tool": " "}], "the right tool is empty"),
        ([{"tool": "a", "arguments": {}}], "it has no 'query'"),
        ([{**OWN, "accepted": {"a": 1}}], "argument -> list of right values"),
        ([{**OWN, "dialog_history": [{"role": "tool"}]}], "each message needs 'role'"),
        ([{**OWN, "dialog_history": "x"}], "must be a list of messages"),
    ],
)
def test_mistakes_are_named_by_their_place(tmp_path, text, complaint):
    path = written(tmp_path, text)
    with pytest.raises(StageInputError) as raised:
        read_test_set(path)
    assert complaint in str(raised.value)
    assert repr(path) in str(raised.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(StageInputError, match="no file"):
        read_rows(str(tmp_path / "none.json"))


def test_predictions_are_scored_by_the_strict_rules_from_the_command_line(tmp_path, capsys):
    calls = ['Action: add_date\nAction Input: {"days": 1}', "no call"]
    rows = [
        {**OWN, "model_output": call, "setting": setting, "example_id": "1"}
        for setting, call in zip("ab", calls, strict=True)
    ]
    assert main(["evaluate", "--predictions", written(tmp_path, rows), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    shares = [one["overall"]["correct"]["share"] for one in found["settings"]]
    assert shares == [1.0, 0.0]
    assert main(["evaluate", "--predictions", written(tmp_path, rows)]) == 0
    assert "last - first" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([OWN], "it has no 'model_output' or 'output_text'"),
        ([{**OWN, "tool": "nope", "model_output": ""}], "'nope', which is not registered"),
        ([{**OWN, "model_output": "", "example_id": "1"}] * 2, "the 'example_id' '1' of"),
        ([{"tool": "add_date", "model_output": ""}], "the right arguments"),
    ],
)
def test_predictions_that_cannot_be_scored_are_one_line(tmp_path, capsys, rows, complaint):
    assert main(["evaluate", "--predictions", written(tmp_path, rows)]) == 2
    message = capsys.readouterr().err.strip()
    assert complaint in message
    assert "\n" not in message


def test_predictions_keep_their_errors(tmp_path):
    row = {**OWN, "output_text": "", "error": "it died"}
    (found,) = read_predictions(written(tmp_path, [row]))
    assert (found.error, found.setting, found.example_id) == (
        "it died",
        "predictions",
        "row-000000",
    )


def test_predictions_are_read_without_what_the_model_reasoned(tmp_path):
    call = 'Action: add\nAction Input: {"n": 1, "text": "a </think> b"}'
    draft = 'Hm.\nAction: other\nAction Input: {"n": 2}'
    row = {
        "tool": "add",
        "arguments": {"n": 1},
        "model_output": f"<think>\n{draft}\n</think>\n\n{call}",
    }
    (found,) = read_predictions(written(tmp_path, [row]))
    assert (found.output_text, found.reasoning) == (call, draft)
    plain = {"tool": "add", "arguments": {"n": 1}, "model_output": call, "reasoning": "apart"}
    (found,) = read_predictions(written(tmp_path, [plain]))
    assert (found.output_text, found.reasoning) == (call, "apart")

"""Test sets and predictions of others: every form is read, every mistake named by its place."""

import json

import pytest

from ste_ray.cli.main import main
from ste_ray.errors import StageInputError
from ste_ray.imports.predictions import read_predictions
from ste_ray.imports.rows import read_rows
from ste_ray.imports.test_sets import read_test_set

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

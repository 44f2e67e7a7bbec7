"""The study's training data as a run: what is read, what is left out, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from exports.prepared_run import make_run

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.preparing.selecting import select_call
from ste_ray.core.records import Episode
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError
from ste_ray.imports.tool_data import read_tool_data
from ste_ray.stages.base import read_specs
from ste_ray.store.artifacts import open_store
from ste_ray.store.manifest import read_manifest
from ste_ray.store.tables import read_records

REFERENCE = Path(__file__).parents[3] / "shared/reference"
needs_reference = pytest.mark.skipif(
    not REFERENCE.exists(), reason="the study's reference data are not there"
)
ROW = {
    "query": "Add 90 days to 2022-10-14",
    "API_name_list": ["add_date"],
    "api_descriptions": (
        "API_name: add_date\nDescription: Add days to a date. Your input should be a json "
        '(args json schema): {{"date" : string, "days" : integer, }} The Action to trigger'
    ),
    "action": "add_date",
    "action_input": '{\n    "days": 90,\n    "date": "2022-10-14"\n}',
    "observation": '{"result": "2023-01-12"}',
    "final_ans": "It is 2023-01-12.",
}


def written(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
    return str(path)


def imported(tmp_path, value, *options):
    path = written(tmp_path / "data.json", value)
    place = str(tmp_path / "run")
    assert main(["import", "tool-data", path, "--run", place, *options]) == 0
    return open_store(place)


def test_a_row_is_a_trial_that_can_be_prepared(tmp_path):
    store = imported(tmp_path, [ROW])
    (episode,) = read_records(store, layout.EPISODES, Episode)
    (trial,) = episode.trials
    call = select_call(trial)
    assert (trial.query, trial.final_answer) == (ROW["query"], ROW["final_ans"])
    assert call.arguments_json == '{"date":"2022-10-14","days":90}'
    assert call.arguments_text == ROW["action_input"]
    assert (call.observation, call.observation_source) == (ROW["observation"], "recorded")
    assert episode.messages[call.reply_index].content == call.reply_text
    spec = read_specs(store)["add_date"]
    assert set(spec.parameters["properties"]) == {"date", "days"}
    assert "Add days to a date." in spec.description
    manifest = read_manifest(store, "explore")
    assert manifest is not None
    assert "nothing was asked or called" in manifest.notes[0]


@needs_reference
def test_all_tools_of_the_study_with_their_rounds(tmp_path):
    tests = json.loads((REFERENCE / "tool_test.json").read_text())
    rounds = json.loads((REFERENCE / "CL_batches.json").read_text())
    data = {
        f"batch_{number}": [
            item | {"observation": {"n": 1}, "final_ans": "It is 1."}
            for name in names
            for item in tests[name]
        ]
        for number, names in enumerate(rounds)
    }
    store = imported(tmp_path, data)
    episodes = read_records(store, layout.EPISODES, Episode)
    assert len(episodes) == 750
    assert [one.tool for one in episodes] == sorted(one.tool for one in episodes)
    assert len({one.trials[0].trial_id for one in episodes}) == 750
    assert all(not isinstance(select_call(one.trials[0]), str) for one in episodes)
    assert [set(names) for names in store.read_json(layout.IMPORTED_ROUNDS)] == [
        set(names) for names in rounds
    ]
    specs = read_specs(store)
    for name, items in tests.items():
        for item in items:  # gold calls name arguments that the description lists
            unknown = json.loads(item["action_input"]).keys() - specs[name].parameters["properties"]
            assert not unknown or name in SLOPPY, (name, unknown)


SLOPPY = {
    "get_arxiv_article_information",
    "siteDomain%%language list",
    "colegiosantaana%%Mensajes-1",
}


@needs_reference
def test_descriptions_given_apart_win(tmp_path):
    row = ROW | {"api_descriptions": ""}
    store = imported(tmp_path, [row], "--descriptions", str(REFERENCE / "API_descriptions.json"))
    assert set(read_specs(store)["add_date"].parameters["properties"]) == {"date", "days"}


def test_without_a_description_the_calls_show_the_arguments(tmp_path):
    row = {key: value for key, value in ROW.items() if key != "api_descriptions"}
    other = row | {"action_input": {"date": "2022-01-01", "zone": "UTC"}}
    spec = read_specs(imported(tmp_path, [row, other]))["add_date"]
    assert set(spec.parameters["properties"]) == {"date", "days", "zone"}
    assert "do not describe" in spec.description


def test_the_right_one_of_several_descriptions_is_taken(tmp_path):
    text = "API_name: other\nDescription: No.\n\n" + ROW["api_descriptions"]
    rows = [ROW | {"api_descriptions": text, "API_name_list": ["other", "add_date"]}]
    spec = read_specs(imported(tmp_path, rows))["add_date"]
    assert spec.description.startswith("Add days")


def test_an_export_in_the_studys_form_comes_back(tmp_path):
    store, examples, _ = make_run(tmp_path / "made")
    out = tmp_path / "out"
    assert main(["export", "study", "--run", store.uri, "--out", str(out)]) == 0
    place = str(tmp_path / "again")
    assert main(["import", "tool-data", str(out / "tool_data.json"), "--run", place]) == 0
    again = open_store(place)
    before = read_specs(store)
    for name, spec in read_specs(again).items():
        assert spec.parameters == before[name].parameters
        assert spec.description == before[name].description
    trials = [one.trials[0] for one in read_records(again, layout.EPISODES, Episode)]
    assert sorted((t.tool, t.query, t.final_answer) for t in trials) == sorted(
        (one.tool, one.query, one.final_answer) for one in examples if one.split == "train"
    )
    calls = {trial.query: trial.turns[0] for trial in trials}
    for one in examples:
        if one.split == "train":
            assert calls[one.query].arguments_json == one.arguments_json
            assert calls[one.query].observation == one.observation


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("text", "no JSON object"),
        ({"query": None}, "'query' is no text or empty"),
        ({"final_ans": " "}, "'final_ans' is no text or empty"),
        ({"action": ""}, "'action' is no text or empty"),
        ({"action_input": "{broken"}, "'action_input' is no JSON"),
        ({"action_input": "[1]"}, "'action_input' is no JSON object"),
        ({"action_input": "{} and more"}, "'action_input' is no JSON object"),
        ({"action_input": '{"a": NaN}'}, "'action_input' is no JSON"),
    ],
)
def test_a_bad_row_is_left_out_and_told(tmp_path, capsys, change, reason):
    bad = change if isinstance(change, str) else ROW | change
    store = imported(tmp_path, [ROW, bad, ROW | {"query": "Another"}], "--json")
    told = capsys.readouterr()
    assert json.loads(told.out)["counts"]["episodes"] == 2
    assert reason in told.err
    assert "the first is row 1" in told.err
    assert len(read_records(store, layout.EPISODES, Episode)) == 2


def test_a_missing_key_is_told(tmp_path):
    row = {key: value for key, value in ROW.items() if key != "observation"}
    data = read_tool_data(written(tmp_path / "d.json", [ROW, row]))
    assert data.skipped == {"a row without 'observation'": 1}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{broken", "is no JSON"),
        ("7", "must hold a JSON list"),
        ("{}", "must hold a JSON list"),
        ('{"batch_0": 1}', "must hold a JSON list"),
        ('{"other": []}', "must hold a JSON list"),
        ("[]", "holds no example"),
        ('["x"]', "holds no example (1 x a row that is no JSON object)"),
    ],
)
def test_a_file_of_another_form_is_refused_and_nothing_written(
    tmp_path, capsys, content, complaint
):
    path = tmp_path / "data.json"
    path.write_text(content)
    place = tmp_path / "run"
    assert main(["import", "tool-data", str(path), "--run", str(place)]) == 2
    err = capsys.readouterr().err
    assert complaint in err
    assert err.count("\n") == 1
    assert not place.exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot read '/nowhere'"):
        read_tool_data("/nowhere")


def test_batches_are_in_order_of_their_numbers_and_a_tool_belongs_to_its_first(tmp_path):
    def rows(*tools):
        return [ROW | {"action": tool} for tool in tools]

    value = {"batch_10": rows("d", "a"), "batch_2": rows("c"), "batch_0": rows("b", "a")}
    data = read_tool_data(written(tmp_path / "d.json", value))
    assert data.rounds == [["b", "a"], ["c"], ["d"]]
    assert data.moved == {"a"}
    assert len(data.episodes["a"]) == 2


def test_a_second_import_has_nothing_to_do_and_another_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray is started for nothing"))
    store = imported(tmp_path, [ROW])
    before = {path: store.read_bytes(path) for path in store.list("explore")}
    imported(tmp_path, [ROW])
    assert "nothing to do" in capsys.readouterr().err
    assert {path: store.read_bytes(path) for path in store.list("explore")} == before
    path = written(tmp_path / "other.json", [ROW, ROW])
    assert main(["import", "tool-data", path, "--run", store.uri]) == 2
    assert "run or begun differently" in capsys.readouterr().err
    assert main(["explore", "--run", store.uri]) == 2
    assert "run or begun differently" in capsys.readouterr().err


def test_the_result_of_an_error_is_marked(tmp_path):
    rows = [ROW | {"observation": text} for text in ('{"error": "none"}', '{"error": ""}', "Oops")]
    episodes = read_records(imported(tmp_path, rows), layout.EPISODES, Episode)
    statuses = [one.trials[0].turns[0].observation_status for one in episodes]
    assert statuses == ["error", "ok", "ok"]
    assert isinstance(read_specs(open_store(str(tmp_path / "run")))["add_date"], ToolSpec)

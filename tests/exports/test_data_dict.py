"""``data_dict.json``: what the published study's own scripts read of it must be there."""

import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from flow_examples import FINAL, PROMPTS, SPEC, call

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.effects import ModelReply
from ste_ray.core.exploring.context import TrialSettings
from ste_ray.core.exploring.episode import episode_flow
from ste_ray.core.records import Episode, MessageCall
from ste_ray.errors import StageInputError
from ste_ray.exports.data_dict import write_data_dict
from ste_ray.runtime.fakes import play
from ste_ray.stages.base import load_prompts
from ste_ray.store.artifacts import open_store
from ste_ray.store.tables import write_records

OTHER = SPEC.model_copy(update={"name": "Tool%%größer", "description": "Compares."})
SPECS = {spec.name: spec for spec in (SPEC, OTHER)}
SOLVED = ["query 1", call(1), "seen 1", FINAL, "Yes."]
AFTER_A_FAILURE = ["query 2", "no call at all", call(2), "seen 2", FINAL, "No."]
OUT_OF_TURNS = ["query 3", call(3), "seen 3", call(4), "seen 4", call(5), "No."]
NEVER_CALLED = ["query 4", FINAL, "Yes."]
NO_QUERY = [" "]
CUT_OFF = ["query 5", call(6), "seen 6", ModelReply(text="", finish_reason="content_filter")]


def explore(spec, number, *trials):
    flow = episode_flow(
        spec,
        PROMPTS,
        TrialSettings(max_turns=2),
        number=number,
        num_trials=len(trials),
        memory=(),
        config_fingerprint="config",
    )
    answers = [answer for trial in trials for answer in trial]
    renamed = [
        answer.replace("Action: add", f"Action: {spec.name}") if isinstance(answer, str) else answer
        for answer in answers
    ]
    return play(flow, renamed)[0]


def explored():
    return [
        explore(OTHER, 0, OUT_OF_TURNS, CUT_OFF),
        explore(OTHER, 1, NO_QUERY, NEVER_CALLED),
        explore(SPEC, 0, SOLVED, AFTER_A_FAILURE),
    ]


def exported(episodes, specs=SPECS):
    stream = io.StringIO()
    counts = write_data_dict(iter(episodes), specs, stream)
    return json.loads(stream.getvalue()), counts


def calls_of_finished_items(data_dict: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Read what the study's filter reads: of each finished item the last call before the answer."""
    found = []
    for sessions in data_dict.values():
        for session in sessions:
            for item in session["item_list"]:
                *before, last = item["chains"]
                if not last["finish"]:
                    continue
                calls = [step for step in before if step["parse_successful"]]
                if not calls:
                    continue
                assert f"API_name: {calls[-1]['action']}\nDescription: " in last["api_descriptions"]
                assert calls[-1]["api_descriptions"] == last["api_descriptions"]
                assert calls[-1]["API_name_list"] == [calls[-1]["action"]]
                json.loads(calls[-1]["action_input"])
                call_keys = ("action", "action_input", "observation")
                values = (calls[-1][key] for key in call_keys)
                found.append((item["query"], *values, last["final_ans"]))
    return found


def test_the_study_s_filter_finds_the_finished_calls():
    data_dict, counts = exported(explored())
    assert list(data_dict) == ["Tool%%größer", "add"]
    assert calls_of_finished_items(data_dict) == [
        ("query 1", "add", '{"n": 1}', "seen 1", "It is 3."),
        ("query 2", "add", '{"n": 2}', "seen 2", "It is 3."),
    ]
    assert (counts.tools, counts.sessions, counts.items) == (2, 3, 5)
    assert counts.trials_without_steps == 1


def test_each_kind_of_step_has_the_keys_of_the_study():
    choice = {"API_name_list", "api_descriptions", "parse_successful", "finish"}
    final = choice | {"final_ans"}
    called = choice | {"action", "action_input", "observation"}
    failed = choice | {"parse_error_msg", "observation"}
    data_dict, _ = exported(explored())
    chains = {
        item["query"]: [set(step) for step in item["chains"]]
        for sessions in data_dict.values()
        for session in sessions
        for item in session["item_list"]
    }
    assert chains == {
        "query 1": [called, final],
        "query 2": [failed, called, final],
        "query 3": [called, called, called - {"observation"}],
        "query 4": [final],
        "query 5": [called, failed - {"observation"}],
    }
    failure = data_dict["add"][0]["item_list"][1]["chains"][0]
    assert failure["observation"] == failure["parse_error_msg"]
    assert (failure["parse_successful"], failure["finish"]) == (False, False)
    assert data_dict["Tool%%größer"][0]["item_list"][1]["chains"][-1]["parse_successful"] is False


def test_messages_are_the_conversation_with_its_reflections():
    messages = exported([explore(SPEC, 0, SOLVED)])[0]["add"][0]["messages"]
    assert [(one["role"], one["content"]) for one in messages[-2:]] == [
        ("user", "REFLECT"),
        ("assistant", "Yes."),
    ]
    assert all(set(one) == {"role", "content"} for one in messages)


def test_half_characters_that_models_write_do_no_harm():
    odd = explore(SPEC, 0, ["query \ud800", FINAL, "Yes."])
    stream = io.StringIO()
    write_data_dict([odd], SPECS, stream)
    assert stream.getvalue().isascii()


def test_no_episodes_make_an_empty_object():
    assert exported([])[0] == {}


@pytest.mark.parametrize(
    ("episodes", "specs", "part"),
    [
        ([0, 2, 1], SPECS, "the episodes of tool 'Tool%%größer' do not stand together"),
        ([0], {}, "the run does not describe it"),
    ],
)
def test_episodes_that_cannot_be_written_are_refused(episodes, specs, part):
    made = explored()
    with pytest.raises(StageInputError, match=part):
        exported([made[index] for index in episodes], specs)


def test_only_one_episode_is_held_at_a_time():
    alive = 0

    class Counted(Episode):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def stream_of(episode):
        nonlocal alive
        for _ in range(20):
            alive += 1
            yield Counted.model_validate(episode.model_dump())
            assert alive <= 2

    write_data_dict(stream_of(explore(SPEC, 0, SOLVED)), SPECS, io.StringIO())


def stored(folder, episodes):
    store = open_store(str(folder))
    write_records(store, "explore/episodes/part-00000.parquet", episodes[:2], Episode)
    write_records(store, "explore/episodes/part-00001.parquet", episodes[2:], Episode)
    store.write_json(layout.TOOLS, [spec.model_dump(mode="json") for spec in SPECS.values()])


def test_the_command_exports_a_run(tmp_path, capsys):
    stored(tmp_path / "run", explored())
    out = tmp_path / "data_dict.json"
    arguments = ["export", "data-dict", "--run", str(tmp_path / "run"), "--out", str(out)]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(out),
        "tools": 2,
        "sessions": 3,
        "items": 5,
        "trials_without_steps": 1,
    }
    assert json.loads(out.read_text()) == exported(explored())[0]


def test_a_failed_export_leaves_the_file_that_was_there(tmp_path, capsys):
    episodes = explored()
    stored(tmp_path / "run", [episodes[0], episodes[2], episodes[1]])
    out = tmp_path / "data_dict.json"
    out.write_text("before")
    arguments = ["export", "data-dict", "--run", str(tmp_path / "run"), "--out"]
    assert main([*arguments, str(out)]) == 2
    assert main([*arguments, str(tmp_path / "nowhere" / "d.json")]) == 2
    assert main([*arguments[:3], str(tmp_path / "empty"), "--out", str(out)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert ["do not stand together" in lines[0], "give a file in an" in lines[1]] == [True, True]
    assert "there are no Parquet files" in lines[2]
    assert out.read_text() == "before"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["data_dict.json", "run"]


def test_native_calls_stand_in_the_messages():
    call = MessageCall(id="c1", name="add", arguments_text='{"n": 1}')
    flow = episode_flow(
        SPEC,
        load_prompts(),
        TrialSettings(protocol="native"),
        number=0,
        num_trials=1,
        memory=(),
        config_fingerprint="config",
    )
    answers = ["query", ModelReply(text="I add.", calls=(call,)), "seen 1", "It is 3.", "Yes."]
    stream = io.StringIO()
    write_data_dict([play(flow, answers)[0]], SPECS, stream)
    (session,) = json.loads(stream.getvalue())["add"]
    calling, result = session["messages"][3:5]
    assert calling["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"n": 1}'}
    assert result == {"role": "tool", "content": "seen 1", "tool_call_id": "c1"}
    first, last = session["item_list"][0]["chains"]
    assert (first["action"], first["action_input"], first["observation"]) == (
        "add",
        '{"n": 1}',
        "seen 1",
    )
    assert last["final_ans"] == "It is 3."

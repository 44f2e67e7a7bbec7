"""What is drawn of general data: who is trained on, who is tested, and that nobody is both."""

from __future__ import annotations

import json

import pytest

from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.records import Example, TrainRow
from ste_ray.errors import ConfigError
from ste_ray.stages.base import StageContext
from ste_ray.stages.inputs import input_fingerprints
from ste_ray.stages.prepare.general import draw_general, open_general_data, write_general
from ste_ray.store.artifacts import open_store
from ste_ray.store.tables import read_records


def user(text):
    return {"role": "user", "content": text}


def answered(*turns, answer="Yes."):
    return {"messages": [*turns, {"role": "assistant", "content": answer}]}


def file_of(folder, rows):
    path = folder / "general.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def single(number):
    return [answered(user(f"Question {n}?"), answer=f"Answer {n}.") for n in range(number)]


def context_of(folder, data, *overrides):
    config = load_config(None, [f"prepare.mix.general_data='{data}'", *overrides])
    return StageContext(config=config, store=open_store(str(folder / "run")), progress=print)


def drawn_of(folder, rows, *overrides):
    return draw_general(context_of(folder, file_of(folder, rows), *overrides))


def asked(rows):
    return {one.content for row in rows for one in row.dialog_history if one.role == "user"}


TEST = "prepare.no_call.test=6"


def test_tests_are_requests_of_one_turn_with_their_answers(tmp_path):
    others = [
        answered({"role": "system", "content": "Be brief."}, user("With a system message?")),
        answered(user("One"), {"role": "assistant", "content": "Two"}, user("Several turns?")),
    ]
    drawn = drawn_of(tmp_path, [*others * 4, *single(6)], TEST, "prepare.mix.general_examples=0")
    assert not drawn.rows
    assert {one.query for one in drawn.tests} == {f"Question {n}?" for n in range(6)}
    assert all(one.final_answer == one.query.replace("Question", "Answer").replace("?", ".")
               for one in drawn.tests)  # fmt: skip
    assert {(one.tool, one.arguments_json, one.split) for one in drawn.tests} == {("", "", "test")}
    assert len({one.example_id for one in drawn.tests}) == 6


def test_what_is_tested_is_nowhere_trained_on_whatever_is_answered_there(tmp_path):
    # Each request stands there again: in other letters, with another answer, in a longer dialog.
    rows = single(20)
    rows += [answered(user(f"  question {n}? "), answer="Other.") for n in range(20)]
    rows += [
        answered(user(f"Question {n}?"), {"role": "assistant", "content": "A"}, user("And then?"))
        for n in range(20)
    ]
    overrides = (TEST, "prepare.no_call.general=9", "prepare.mix.general_held_out=5")
    drawn = drawn_of(tmp_path, rows, *overrides)
    tested = {one.query.strip().casefold() for one in drawn.tests}
    assert len(tested) == 6
    assert not tested & {text.strip().casefold() for text in asked(drawn.rows)}
    assert len(drawn.rows) == 3 * (20 - 6)
    assert {row.kind for row in drawn.rows} == {"general", "no_call"}


def test_the_seed_alone_draws_and_the_order_of_the_file_does_not(tmp_path):
    def drawn(rows, *overrides):
        return {one.query for one in drawn_of(tmp_path, rows, TEST, *overrides).tests}

    first = drawn(single(40))
    assert drawn(single(40)[::-1]) == first
    assert drawn(single(40), "seed=3") != first
    assert drawn(single(40), "prepare.no_call.general=12") == first


def test_without_tests_everybody_is_drawn_as_before(tmp_path):
    drawn = drawn_of(tmp_path, [*single(5), *single(5)], "prepare.no_call.general=3")
    assert drawn.tests == []
    assert [row.kind for row in drawn.rows] == ["general"] * 7 + ["no_call"] * 3


def test_where_the_file_is_short_tests_come_first_then_restraint_to_train_on(tmp_path):
    overrides = (TEST, "prepare.no_call.general=3", "prepare.mix.general_examples=4",
                 "prepare.mix.general_held_out=4")  # fmt: skip
    drawn = drawn_of(tmp_path, single(11), *overrides)
    kinds = [(row.kind, row.split) for row in drawn.rows]
    assert len(drawn.tests) == 6
    assert kinds == [("general", "train")] * 2 + [("no_call", "train")] * 3


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (single(5), "no_call.test=6, but .* holds 5 different requests of one turn; lower it"),
        (single(3) * 4, "holds 3 different requests of one turn"),
        (
            single(8),
            "no_call.general=3, but .* holds 2 examples besides 6 for prepare.no_call.test",
        ),
    ],
)
def test_too_short_a_file_is_told(tmp_path, rows, complaint):
    with pytest.raises(ConfigError, match=complaint):
        drawn_of(tmp_path, rows, TEST, "prepare.no_call.general=3")


def test_tests_need_general_data(tmp_path):
    with pytest.raises(ConfigError, match=r"no_call\.test=6 needs general data"):
        draw_general(context_of(tmp_path, "", TEST))


def test_rows_and_tests_are_stored_and_none_outlives_a_corrected_attempt(tmp_path):
    data = file_of(tmp_path, single(12))
    context = context_of(tmp_path, data, TEST)
    drawn = draw_general(context)
    write_general(context.store, drawn)
    assert read_records(context.store, layout.EXAMPLES, Example) == drawn.tests
    assert read_records(context.store, layout.ROWS, TrainRow) == drawn.rows
    write_general(context.store, draw_general(context_of(tmp_path, "")))
    assert context.store.list("prepare") == []


def test_a_shipped_file_goes_by_its_name_wherever_the_command_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    context = context_of(tmp_path, "general_requests", TEST)
    assert len(draw_general(context).tests) == 6
    monkeypatch.setattr("ste_ray.stages.inputs.inputs_of", lambda stage, config: ())
    prints = input_fingerprints("prepare", context)
    assert prints["general_data"] == open_general_data("general_requests").fingerprint


def test_the_number_of_tests_is_part_of_what_is_asked_for():
    config, other = load_config(None), load_config(None, [TEST])
    assert "test" not in config.stage_fields("prepare")["prepare"]["no_call"]
    assert config.stage_fingerprint("prepare") != other.stage_fingerprint("prepare")

"""Which base model a demo takes, what it says of it, and what it shows at its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.records import Prediction, Score
from ste_ray.imports import packed_base
from ste_ray.report.exchanges import draw_exchanges, exchanges_text
from ste_ray.stages import demo, needs
from ste_ray.stages.evaluate.stage import summarise_settings
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.tables import write_records
from tests.packed_wheel import packed_wheel

Calls = list[list[str]]
TOOLS = ("add_date", "airport", "roman_encode", "vat_check")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The arguments that each demo gives the stages, which only leave predictions here."""
    given: Calls = []

    def run_demo(store: RunStore, arguments: list[str], progress: Any) -> list[Any]:
        given.append(arguments)
        leave_answers(store)
        return []

    monkeypatch.setattr(demo, "run_demo", run_demo)
    monkeypatch.setattr(needs, "check_models", lambda *given: None)  # there is no such model
    monkeypatch.chdir(tmp_path)
    return given


def leave_answers(store: RunStore, right: int = 8) -> None:
    """Leave 8 answers to requests for four tools; the first ``right`` are correct."""
    predictions, scores = [], []
    for number in range(8):
        tool = TOOLS[number % 4]
        common: dict[str, Any] = {"example_id": f"e{number}", "setting": "tuned/toolken"}
        predictions.append(
            Prediction(
                **common,
                tool=tool,
                query=f"request {number}",
                arguments_json="{}",
                candidates=(),
                output_text=f'Action: <tool_{tool}>\nAction Input: {{"n": {number}}}',
                observation=f"observed {number}",
                observation_status="ok",
                final_answer=f"answer {number}",
            )
        )
        outcome = "correct" if number < right else "wrong_arguments"
        scores.append(Score(**common, tool=tool, outcome=outcome, num_gold_arguments=1))
    # Another needs no call, and gets none.
    free: dict[str, Any] = {"example_id": "e8", "setting": "tuned/toolken", "tool": ""}
    asked = {"query": "q", "arguments_json": "", "candidates": (), "output_text": "Hello."}
    predictions.append(Prediction(**free, **asked))
    scores.append(Score(**free, outcome="correct", num_gold_arguments=0))
    folder = layout.predictions("tuned-toolken")
    write_records(store, layout.part(folder, 0), predictions, Prediction)
    write_records(store, layout.part(layout.scores_of(folder), 0), scores, Score)
    summary = summarise_settings({"tuned/toolken": scores}, seed=0, num_resamples=20)
    store.write_json(layout.EVALUATION_SUMMARY, summary.model_dump(mode="json"))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], str]:
    assert main(["demo", "--run", "run", "--json", *arguments]) == 0
    said = capsys.readouterr()
    return json.loads(said.out), said.err


def test_without_an_index_the_demo_says_why_and_trains_from_scratch(calls, capsys, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    found, errors = told(capsys, "seed=5")
    assert [Path(calls[0][1]).name, *calls[0][2:]] == ["demo_from_scratch.yaml", "seed=5"]
    assert "a small Llama with random weights, since SmolLM2-135M-Instruct cannot be had" in errors
    assert "pip: No matching distribution found" in errors
    assert found["base_model"]["base"] == ""
    assert "cannot be had" in found["base_model"]["reason"]
    assert found["exchanges"] is None  # its calls are not executed
    assert open_store("run").read_json(layout.DEMO_MODEL) == found["base_model"]
    # It goes on so, although the model could be had now.
    monkeypatch.setattr(packed_base, "fetch_base", None)
    again, errors = told(capsys)
    assert again["base_model"] == found["base_model"]
    assert "begun without a pretrained model and goes on so" in errors
    assert Path(calls[1][1]).name == "demo_from_scratch.yaml"


@pytest.mark.parametrize("bf16", [True, False])
def test_the_fetched_model_is_given_to_the_stages(calls, capsys, monkeypatch, tmp_path, bf16):
    monkeypatch.setattr("ste_ray.cli.demo.has_bf16_arithmetic", lambda: bf16)
    base = packed_wheel(tmp_path / "wheels", monkeypatch)
    monkeypatch.setattr(packed_base, "DEMO_BASE", base)
    place = tmp_path / "a place: #1"
    place.mkdir()
    monkeypatch.chdir(place)
    found, errors = told(capsys)
    folder = place / ".models/Tiny-Instruct"
    assert (folder / "model.safetensors").is_file()
    precision = ["train.precision=mixed", "infer.precision=bf16"] if bf16 else []
    chosen = [f'train.model.base="{folder}"', *precision]
    assert [Path(calls[0][1]).name, *calls[0][2:]] == ["demo.yaml", *chosen]
    assert found["base_model"]["base"] == str(folder)
    assert "demo: base model: Tiny-Instruct (a tiny chat model, Apache-2.0" in errors
    # Going on without an index.
    monkeypatch.setenv("PIP_FIND_LINKS", "nowhere")
    again, errors = told(capsys)
    assert again["base_model"] == found["base_model"]
    assert "fetching" not in errors
    assert main(["demo", "--run", "run", "--from-scratch"]) == 2
    assert "was begun with Tiny-Instruct" in capsys.readouterr().err
    # Not even from elsewhere, as long as the model is there, nor on another machine.
    monkeypatch.setattr("ste_ray.cli.demo.has_bf16_arithmetic", lambda: not bf16)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--run", str(place / "run")]) == 0
    assert calls[2] == calls[0]
    assert not Path(".models").exists()


def test_a_base_model_that_is_gone_is_fetched_again_or_told(calls, capsys, monkeypatch, tmp_path):
    base = packed_wheel(tmp_path / "wheels", monkeypatch)
    monkeypatch.setattr(packed_base, "DEMO_BASE", base)
    told(capsys)
    folder = tmp_path / ".models/Tiny-Instruct"
    folder.rename(tmp_path / "away")
    told(capsys)
    assert folder.is_dir()
    folder.rename(tmp_path / "away too")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert main(["demo", "--run", "run"]) == 75
    assert "which is not there, and cannot be had again" in capsys.readouterr().err
    open_store("run").write_json(layout.BASE_MARKER, {})  # the run has a copy
    told(capsys)


def test_a_run_that_was_moved_takes_the_base_model_of_its_new_place(
    calls, capsys, monkeypatch, tmp_path
):
    base = packed_wheel(tmp_path / "wheels", monkeypatch)
    monkeypatch.setattr(packed_base, "DEMO_BASE", base)
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    monkeypatch.chdir(before)
    told(capsys)
    before.rename(after)
    monkeypatch.chdir(after)
    monkeypatch.setenv("PIP_FIND_LINKS", "nowhere")
    found, errors = told(capsys)
    assert "fetching" not in errors
    folder = str(after / ".models/Tiny-Instruct")
    assert found["base_model"]["base"] == folder
    assert f'train.model.base="{folder}"' in calls[1]
    assert open_store("run").read_json(layout.DEMO_MODEL)["base"] == folder


def test_a_base_model_of_ones_own_is_taken_as_it_is(calls, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(packed_base, "fetch_base", None)
    found, _ = told(capsys, "train.model.base=/models/mine")
    assert [Path(calls[0][1]).name, *calls[0][2:]] == ["demo.yaml", "train.model.base=/models/mine"]
    assert found["base_model"]["name"] == "/models/mine"
    (tmp_path / "own.yaml").write_text("train: {max_steps: 1}\n")
    told(capsys, "--config", "own.yaml")
    assert calls[1] == ["--config", str(tmp_path / "own.yaml")]
    for arguments in (["train.model.base=/models/mine"], ["--config", "own.yaml"]):
        assert main(["demo", "--run", "run", "--from-scratch", *arguments]) == 2
        assert "leave out" in capsys.readouterr().err


def test_from_scratch_fetches_nothing(calls, capsys, monkeypatch):
    monkeypatch.setattr(packed_base, "fetch_base", None)
    found, _ = told(capsys, "--from-scratch")
    assert Path(calls[0][1]).name == "demo_from_scratch.yaml"
    assert found["base_model"]["reason"] == "--from-scratch was given"


OWN = ("train.model.base=/models/mine", "infer.execute=true")


def test_three_exchanges_of_three_tools_are_shown_in_full(calls, capsys):
    assert main(["demo", "--run", "run", *OWN]) == 0
    text = capsys.readouterr().out
    assert "3 exchanges of tuned/toolken, drawn by the seed from its 8 correct calls" in text
    found, _ = told(capsys, *OWN)
    shown = found["exchanges"]["shown"]
    assert len({one["tool"] for one in shown}) == 3
    for one in shown:
        number = one["request"].removeprefix("request ")
        assert one["call"] == f'Action: <tool_{one["tool"]}>\nAction Input: {{"n": {number}}}'
        assert one["observation"] == f"observed {number}"
        for part in (one["request"], one["observation"], f'Action Input: {{"n": {number}}}'):
            assert part in text
    assert f"ask it yourself: ste-ray ask '{shown[0]['request']}' --run run" in text
    others = {told(capsys, *OWN, f"seed={seed}")[0]["ask"] for seed in range(8)}
    assert len(others) > 1


@pytest.mark.parametrize("trained", [True, False])
def test_the_reply_is_the_models_only_if_it_was_trained_to_give_one(calls, capsys, trained):
    found, _ = told(capsys, *OWN, f"prepare.tool_responses={str(trained).lower()}")
    (one, *_) = found["exchanges"]["shown"]
    number = one["request"].removeprefix("request ")
    expected = ("model", f"answer {number}") if trained else ("tool", f"observed {number}")
    assert (one["reply_from"], one["reply"]) == expected
    assert ("not trained to give final answers" in found["exchanges"]["note"]) is not trained


@pytest.mark.parametrize("trained", [True, False])
def test_the_tool_s_result_stands_apart_from_the_model_s_words(calls, capsys, trained):
    own = (*OWN, f"prepare.tool_responses={str(trained).lower()}")
    assert main(["demo", "--run", "run", *own]) == 0
    text = capsys.readouterr().out
    assert text.count("   tool's result: observed ") == 3
    assert text.count("   model's words: answer ") == (3 if trained else 0)
    assert text.count("(the tool's result, as above)") == (0 if trained else 3)


def test_an_exchange_whose_words_were_cut_says_so():
    tool = {"tool": "t", "arguments_json": "{}", "query": "q", "candidates": ()}
    found = Prediction(
        example_id="e",
        setting="tuned/toolken",
        output_text="Action: t",
        observation="o",
        observation_status="ok",
        final_answer="It is tw",
        final_cut=True,
        **tool,
    )
    score = Score(
        example_id="e",
        setting="tuned/toolken",
        tool="t",
        outcome="correct",
        num_gold_arguments=0,
    )
    drawn = draw_exchanges("tuned/toolken", [found], [score], 1, answers_trained=True)
    text = exchanges_text(drawn)
    assert "It is tw\n                  (cut off at infer.max_new_tokens)" in text
    assert "an answer was cut at infer.max_new_tokens" in drawn.note()
    untrained = draw_exchanges("tuned/toolken", [found], [score], 1, answers_trained=False)
    assert "cut" not in exchanges_text(untrained)


def test_fewer_exchanges_are_told(calls, capsys, monkeypatch):
    monkeypatch.setattr(demo, "run_demo", lambda store, *_: [leave_answers(store, right=2)][:0])
    found, _ = told(capsys, *OWN)
    assert len(found["exchanges"]["shown"]) == 2
    assert "no more tools have answered a correct call" in found["exchanges"]["note"]
    monkeypatch.setattr(demo, "run_demo", lambda store, *_: [leave_answers(store, right=0)][:0])
    found, _ = told(capsys, *OWN)
    assert found["exchanges"]["shown"] == []
    assert "one of its 0 correct calls (8 requests)" in found["exchanges"]["note"]
    assert found["ask"] == "ste-ray ask '…' --run run"

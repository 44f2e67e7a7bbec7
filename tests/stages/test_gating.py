"""``ste-ray evaluate --gate`` on evaluated runs in folders and in object storage, without Ray."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ste_ray.cli import stages as cli_stages
from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.records import Message, Prediction, TestDialog
from ste_ray.errors import StageInputError
from ste_ray.stages.evaluate.gating import read_outcomes
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import declare_stage
from ste_ray.store.tables import read_records, write_records
from tests.evaluated_run import Asked, write_evaluated

TOOLS = tuple(f"tool_{number}" for number in range(10))


def asked(wrong: int = 0, broken: Sequence[str] = (), per_tool: int = 10) -> list[Asked]:
    """Requests of each tool, of which the first ``wrong`` of each, and all of some, go wrong."""
    return [
        (tool, number, "wrong_tool" if number < wrong or tool in broken else "correct")
        for tool in TOOLS
        for number in range(per_tool)
    ]


@pytest.fixture(autouse=True)
def no_stage(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No stage may be run, unless a test says what it does."""

    def refuse(options: Any, context: Any) -> None:
        raise AssertionError("the run was evaluated anew")

    monkeypatch.setattr(cli_stages, "_run", refuse)
    return []


def run_at(folder: Path, name: str, *settings: Sequence[Asked], **options: Any) -> str:
    names = ("base/icl", "tuned/toolken")[-len(settings) :]
    write_evaluated(
        open_store(str(folder / name)), dict(zip(names, settings, strict=True)), **options
    )
    return str(folder / name)


def result_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = main(["evaluate", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code, found = result_of(capsys, *arguments)
    assert (code, found["error"]["exit_code"]) == (2, 2)
    return str(found["error"]["message"])


def verdicts(found: Any, tool: str = "") -> dict[str, str]:
    return {row["figure"]: row["verdict"] for row in found["result"]["rows"] if row["tool"] == tool}


def test_a_run_is_held_against_a_saved_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run_at(tmp_path, "before", asked())
    file = str(tmp_path / "baseline.json")
    assert main(["evaluate", "--run", before, "--save-baseline", file]) == 0
    saved = Path(file).read_bytes()
    assert main(["evaluate", "--run", before, "--gate", file, "--save-baseline", file]) == 0
    assert Path(file).read_bytes() == saved
    assert b"tool_3 4?" not in saved  # no request in clear

    now = run_at(tmp_path, "now", asked(wrong=3), ids="other-")
    code, found = result_of(capsys, "--run", now, "--gate", file, "--save-baseline", file)
    assert code == 1
    assert Path(file).read_bytes() == saved  # a run that is worse is no baseline
    (compared,) = found["result"]["compared"]
    assert (compared["paired"], compared["num_now"]) == (True, 100)
    assert verdicts(found)["correct"] == "worse"
    assert verdicts(found)["wellformed"] == "within chance"
    code, found = result_of(capsys, "--run", before, "--gate", now)  # a run, the other way round
    assert code == 0
    assert verdicts(found)["correct"] == "better"


def test_a_broken_tool_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = run_at(tmp_path, "before", asked())
    now = run_at(tmp_path, "now", asked(broken=["tool_7"]))
    assert main(["evaluate", "--run", now, "--gate", before]) == 1
    text = capsys.readouterr().out
    assert text.startswith(
        "gate failed; worse: tool match of tool_7 −100.0, correct of tool_7 −100.0"
    )
    assert main(["evaluate", "--run", now, "--gate", before, "--overall"]) == 0


def test_settings_are_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = run_at(tmp_path, "before", asked(), asked())
    now = run_at(tmp_path, "now", asked(wrong=4), asked())
    arguments = ["--run", now, "--gate", before]
    assert result_of(capsys, *arguments)[0] == 0
    assert result_of(capsys, *arguments, "--setting", "base/icl")[0] == 1
    code, found = result_of(
        capsys, *arguments, "--setting", "base/icl", "--setting", "tuned/toolken"
    )
    assert code == 1
    assert {row["setting"] for row in found["result"]["rows"]} == {"base/icl", "tuned/toolken"}
    message = error_of(capsys, *arguments, "--setting", "tuned/tolken")
    assert "did you mean 'tuned/toolken'" in message
    only = run_at(tmp_path, "only", asked())
    assert "base/icl" in error_of(capsys, "--run", now, "--gate", only, "--setting", "base/icl")


def test_bounds_need_no_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_at(tmp_path, "run", asked(wrong=1))
    assert main(["evaluate", "--run", run, "--min", "tool_match=0.9", "--min", "correct=0.5"]) == 0
    assert "gate passed: every bound is met" in capsys.readouterr().out
    assert main(["evaluate", "--run", run, "--min", "tool_match=0.95"]) == 1
    shown = capsys.readouterr().out
    assert "gate failed; below its bound: tool match, at least 95.0% is 90.0%" in shown


def test_a_bound_of_unseen_requests_is_of_the_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_at(tmp_path, "run", asked(wrong=1))
    store = open_store(run)
    summary = store.read_json(layout.EVALUATION_SUMMARY)
    summary["settings"][0]["unseen"] = summary["settings"][0]["overall"]
    store.write_json(layout.EVALUATION_SUMMARY, summary)
    code, found = result_of(capsys, "--run", run, "--min", "unseen.tool_match=0.95")
    assert code == 1
    (bound,) = found["result"]["bounds"]
    assert (bound["group"], bound["figure"], bound["n"]) == ("unseen", "tool_match", 100)
    assert main(["evaluate", "--run", run, "--min", "unseen=0.9"]) == 0
    assert main(["evaluate", "--run", run, "--min", "unseen=0.91"]) == 1
    shown = capsys.readouterr().out
    assert "below its bound: correct, unseen phrasing and values, at least 91.0% is 90.0%" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--min", "accuracy=0.9"], "'accuracy=0.9' is of no figure; give one of wellformed"),
        (["--min", "natura=0.9"], "'natura=0.9' is of no figure (did you mean 'natural'?); give"),
        (["--min", "tool_mach=0.9"], "(did you mean 'tool_match'?); give one of wellformed"),
        (["--min", "accuracy=0.9"], "restrained, or of a kind: explicit, natural, indirect"),
        (["--min", "no_tool.correct=0.9"], "give one of no_tool (restrained), as tool_match=0.95"),
        (["--min", "natural=0.9"], "is of the kind 'natural', only of explicit; leave it out"),
        (["--min", "unseen=0.9"], "is known to be unseen in training; leave it out"),
        (["--min", "correct=95"], "give a fraction from 0 to 1, as correct=0.95"),
        (["--min", "correct"], "has no share"),
        (["--min", "correct=nan"], "has no share"),
        (["--min", "restrained=0.5"], "no test request of setting 'tuned/toolken' needs no call"),
        (["--junit", "x.xml"], "--junit is of a gate; give --gate BASELINE or --min"),
        (["--setting", "tuned/toolken"], "--setting is of a gate"),
        (["--save-baseline", "runs/x"], "a baseline is a file called ….json"),
        (["--gate", "gone.json"], "there is no baseline at 'gone.json'; make it with"),
        (["--gate", "runs/gone"], "is not evaluated"),
        (["--gate", "."], "is not evaluated"),
        (["--min", "correct=0", "--markdown", "gone/x.md"], "cannot write 'gone/x.md'"),
    ],
)
def test_mistakes_are_said_in_one_line(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in error_of(capsys, "--run", run_at(tmp_path, "run", asked()), *arguments)


def test_what_has_nothing_in_common_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run_at(tmp_path, "before", [("other", n, "correct") for n in range(30)])
    message = error_of(capsys, "--run", run_at(tmp_path, "now", asked()), "--gate", before)
    assert "neither a request nor a tool in common" in message


def test_a_file_of_predictions_has_no_gate(capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(capsys, "--predictions", "x.jsonl", "--gate", "b.json")
    assert message == "a gate looks at a run; give --run URI in place of --predictions"


def test_a_run_that_is_not_evaluated_is_evaluated_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run_at(tmp_path, "before", asked())
    store = open_store(str(tmp_path / "now"))
    done = []

    def evaluate(options: Any, context: Any) -> None:
        done.append(options.stages)
        write_evaluated(context.store, {"tuned/toolken": asked(wrong=5)})

    monkeypatch.setattr(cli_stages, "_run", evaluate)
    assert result_of(capsys, "--run", store.uri, "--gate", before)[0] == 1
    assert result_of(capsys, "--run", store.uri, "--gate", before)[0] == 1
    assert done == [("evaluate",)]
    # New predictions are evaluated as well: those of the evaluation are not there any more.
    write_evaluated(store, {"tuned/toolken": asked()})
    manifest = store.read_json(layout.manifest("infer"))
    store.write_json(layout.manifest("infer"), manifest | {"counts": {"predictions": 7}})
    assert result_of(capsys, "--run", store.uri, "--gate", before)[0] == 1
    assert len(done) == 2


def test_a_baseline_that_cannot_be_used_is_found_before_the_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run_at(tmp_path, "before", asked())
    empty = str(tmp_path / "now")
    assert "no baseline" in error_of(capsys, "--run", empty, "--gate", "gone.json")
    arguments = ["--run", empty, "--gate", before, "--setting", "tuned/icl"]
    assert "has no setting 'tuned/icl'" in error_of(capsys, *arguments)


def test_ray_is_not_started_for_an_evaluated_run(tmp_path: Path) -> None:
    import subprocess

    run = run_at(tmp_path, "run", asked())
    code = (
        "import sys; from ste_ray.cli.main import main;"
        f"code = main(['evaluate', '--run', {run!r}, '--gate', {run!r}]);"
        "assert 'ray' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "gate passed: no figure is worse by more than chance explains" in done.stdout


def test_runs_and_files_may_be_in_object_storage(
    s3_bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"s3://{s3_bucket}/runs/one"
    write_evaluated(open_store(run), {"tuned/toolken": asked()})
    file, page = f"s3://{s3_bucket}/gate/baseline.json", f"s3://{s3_bucket}/gate/gate.md"
    assert main(["evaluate", "--run", run, "--save-baseline", file]) == 0
    now = run_at(tmp_path, "now", asked(wrong=3))
    assert main(["evaluate", "--run", now, "--gate", file, "--markdown", page]) == 1
    assert b"**worse**" in open_store(f"s3://{s3_bucket}/gate").read_bytes("gate.md")
    assert result_of(capsys, "--run", run, "--gate", run)[0] == 0
    assert "no baseline at" in error_of(capsys, "--run", run, "--gate", f"s3://{s3_bucket}/x.json")


def test_a_request_is_another_one_with_another_dialog(store: RunStore) -> None:
    write_evaluated(store, {"tuned/toolken": asked()})
    (plain,) = [set(read_outcomes(store).outcomes("tuned/toolken"))]
    dialog = TestDialog(example_id="00003", messages=(Message(role="user", content="before"),))
    write_records(store, layout.part(layout.DIALOGS, 0), [dialog], TestDialog)
    assert len(plain & set(read_outcomes(store).outcomes("tuned/toolken"))) == 99


def test_an_evaluation_of_earlier_predictions_is_no_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, now = run_at(tmp_path, "before", asked()), run_at(tmp_path, "now", asked())
    # The same number of predictions, so that nothing else tells.
    declare_stage(open_store(before), "infer", {}, {"predictions": 2}, started_at=0.0)
    message = error_of(capsys, "--run", now, "--gate", before)
    assert f"the evaluation in {before!r} is not of the predictions that are there now" in message


def test_scores_of_other_predictions_are_refused(store: RunStore) -> None:
    write_evaluated(store, {"tuned/toolken": asked()})
    part = layout.part(layout.predictions("tuned-toolken"), 0)
    predictions = read_records(store, part, Prediction)
    write_records(store, part, list(reversed(predictions)), Prediction)
    with pytest.raises(StageInputError, match="does not belong to the run's predictions"):
        read_outcomes(store)


def test_outcomes_of_a_judge_on_one_side_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run_at(tmp_path, "before", asked(), by_judge=4)
    _, found = result_of(capsys, "--run", run_at(tmp_path, "now", asked()), "--gate", before)
    assert any("a judge decided 4 outcomes of the baseline and 0" in one for one in found["notes"])

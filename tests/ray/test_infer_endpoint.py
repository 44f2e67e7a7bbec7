"""An imported test set, asked of an endpoint, executed, judged and exported, on a real Ray."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
import ray
from exploring import context_of, teacher

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.inferring.settings import parse_settings
from ste_ray.core.records import Prediction, Score
from ste_ray.errors import BudgetExhaustedError, SteRayError, TemporaryError
from ste_ray.stages.infer.pieces import put_in_order
from ste_ray.stages.infer.queries import load_queries
from ste_ray.stages.infer.workers import EndpointWorker, WorkerPlan
from ste_ray.stages.registry import run_stages
from ste_ray.stages.shared.model_session import open_models
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.lock import RunLock
from ste_ray.store.tables import read_records

pytestmark = pytest.mark.usefixtures("ray_cluster")

ROWS = [
    {
        "query": f"What date is {days} days after 2024-03-0{days % 8 + 1}?",
        "tool": "add_date",
        "arguments": {"days": days, "start": f"2024-03-0{days % 8 + 1}"},
    }
    for days in range(2, 14)
] + [
    {
        "query": f"Write {asked} in Roman numerals",
        "tool": "roman_encode",
        "arguments": {"number": right},
    }
    for asked, right in ((42, 42), (99, 99), (7, 8))
]
ENDPOINT = "infer.settings=[endpoint/plain]"


@pytest.fixture
def imported(tmp_path: Path) -> RunStore:
    file = tmp_path / "tests.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    store = open_store(str(tmp_path / "run"))
    assert main(["import", "tests", str(file), "--run", store.uri, "--tools", "builtin"]) == 0
    return store


def predictions(store: RunStore) -> list[Prediction]:
    return read_records(store, layout.PREDICTIONS, Prediction)


def test_a_test_set_is_answered_executed_scored_and_exported(
    imported: RunStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with teacher() as server:
        options = [ENDPOINT, "infer.execute=true", f"llm.base_url={server.url}"]
        context = context_of(imported, [], *options)
        manifests = run_stages(("infer", "evaluate"), context)
        asked = server.stats()["requests"]
        again = run_stages(("infer", "evaluate"), context_of(imported, [], *options))
        assert server.stats()["requests"] == asked  # a second time there is nothing to do
    assert [one.started_at for one in again] == [one.started_at for one in manifests]
    found = predictions(imported)
    assert len(found) == len(ROWS)
    assert {one.error for one in found} == {""}
    assert all(len(one.candidates) == 50 for one in found)
    executed = [one for one in found if one.observation_status == "ok"]
    assert len(executed) >= 10
    assert all(one.final_answer for one in executed)
    assert manifests[0].counts["spent"]["calls"] == len(found) + sum(
        one.observation_status != "none" for one in found
    )
    scores = {one.example_id: one for one in read_records(imported, layout.SCORES, Score)}
    # Only the tool that was really meant, with the arguments of the request, is correct.
    assert Counter(one.outcome for one in scores.values())["correct"] >= 10
    assert scores[sorted(scores)[-1]].outcome == "wrong_arguments"

    out = tmp_path / "saved.json"
    arguments = ["export", "predictions", "--run", imported.uri, "--setting", "endpoint/plain"]
    assert main([*arguments, "--out", str(out)]) == 0
    items = json.loads(out.read_text())
    assert list(items) == ["add_date", "roman_encode"]
    assert [item["query"] for part in items.values() for item in part] == [
        row["query"] for row in ROWS
    ]
    capsys.readouterr()
    command = ["evaluate", "--predictions", str(out), "--profile", "ste-2024", "--json"]
    assert main([*command, "--verdicts", "recorded"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["total"], figures["label_mismatches"]) == (len(ROWS), 0)
    assert main([*arguments[:-1], "base/icl", "--out", str(out)]) == 2
    assert "those that have: endpoint/plain" in capsys.readouterr().err


def test_a_stage_that_was_stopped_by_its_budget_asks_nothing_again(imported: RunStore) -> None:
    with teacher() as server:
        options = [ENDPOINT, f"llm.base_url={server.url}"]
        with pytest.raises(SteRayError) as raised:
            run_stages(("infer",), context_of(imported, [], *options, "budget.max_calls=5"))
        assert isinstance(raised.value, BudgetExhaustedError)
        run_stages(("infer",), context_of(imported, [], *options))
        assert server.stats()["requests"] == len(ROWS)
        assert server.stats()["repeated"] == 0
    assert len(predictions(imported)) == len(ROWS)


def test_a_journal_is_read_once_by_a_worker_that_answers_many_parts(
    imported: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with teacher("--latency-seconds", "0.1") as server:
        options = [ENDPOINT, f"llm.base_url={server.url}", "llm.max_concurrency=2"]
        options += ["flush_seconds=0.1"]
        run_stages(("infer",), context_of(imported, [], *options))
        before = predictions(imported)
        asked = server.stats()["requests"]
        imported.delete_folder(layout.PREDICTIONS)
        context = context_of(imported, [], *options)
        settings = parse_settings(context.config.infer.settings)
        queries, material = load_queries(context, settings)
        with RunLock(imported, "test") as lock:
            context.epoch = lock.epoch
            with open_models(context, "infer", ("assistant",), layout.INFER_JOURNALS, 1) as (
                models,
                _,
            ):
                plan = WorkerPlan(
                    config=context.config,
                    store=imported,
                    epoch=lock.epoch,
                    shared=[ray.put({"": material})],
                    execute=None,
                    wordless=frozenset(),
                    report=lambda *_: None,
                )
                worker = EndpointWorker(plan, models)
                reads: Counter[str] = Counter()
                read = RunStore.read_bytes

                def counted(store: RunStore, path: str) -> bytes:
                    reads[path] += path.endswith(".jsonl.gz")
                    return read(store, path)

                monkeypatch.setattr(RunStore, "read_bytes", counted)
                for query in queries:
                    row = {"setting": "endpoint/plain", "queries": [query.model_dump_json()]}
                    worker(pa.Table.from_pylist([row]))
                monkeypatch.undo()
        assert server.stats()["requests"] == asked  # all of it was in the journal
    segments = [path for path in imported.list(layout.INFER_JOURNALS) if path.endswith(".jsonl.gz")]
    assert len(segments) > 2
    assert {path: reads[path] for path in segments} == dict.fromkeys(segments, 1)
    assert list(put_in_order(imported, settings[0], lambda: None)) == before


def test_an_endpoint_with_faults_leaves_them_in_the_rows(imported: RunStore) -> None:
    with teacher("--fault-rate", "0.3", "--faults", "content_filter,500,reset") as server:
        options = [ENDPOINT, f"llm.base_url={server.url}"]
        run_stages(("infer", "evaluate"), context_of(imported, [], *options))
    found = predictions(imported)
    assert len(found) == len(ROWS)
    errors = Counter(one.error for one in found)
    assert errors.keys() <= {"", "the reply was withheld by a content filter"}
    scores = read_records(imported, layout.SCORES, Score)
    outcomes = Counter(one.outcome for one in scores)
    assert outcomes["error"] == len(ROWS) - errors[""]


def test_an_endpoint_that_dies_midway_costs_nothing_that_was_answered(
    imported: RunStore,
) -> None:
    slow = ("--latency-seconds", "0.3")
    with teacher(*slow) as server:
        port = server.url.removesuffix("/v1").rpartition(":")[2]
        options = [ENDPOINT, f"llm.base_url={server.url}", "llm.max_concurrency=2"]
        options += ["llm.patience_seconds=1", "llm.max_attempts=1"]
        options += ["flush_seconds=0.2"]
        killer = threading.Thread(target=lambda: server.end_after(5))
        killer.start()
        with pytest.raises(TemporaryError):
            run_stages(("infer",), context_of(imported, [], *options))
        killer.join()
    with teacher(*slow, "--port", port) as server:
        run_stages(("infer",), context_of(imported, [], *options))
        assert server.stats()["requests"] <= len(ROWS) - 4
    assert len(predictions(imported)) == len(ROWS)
    # What was under way in that moment had its one attempt.
    failed = [one.error for one in predictions(imported) if one.error]
    assert len(failed) <= 2
    assert all("did not answer" in error for error in failed)


def test_a_judge_decides_texts_if_labels_show_that_it_may(tmp_path: Path) -> None:
    tools = tmp_path / "tools.yaml"
    tools.write_text(
        "tools:\n"
        "  - name: find\n"
        "    description: Finds a thing.\n"
        "    effect: read_only\n"
        "    executor: {kind: python, target: 'operator:abs'}\n"
        "    parameters: {type: object, properties: {what: {type: string}}, required: [what]}\n"
    )
    rows = [{"query": "find it", "tool": "find", "arguments": {"what": "red cars"}}]
    tests = tmp_path / "tests.json"
    tests.write_text(json.dumps(rows))
    labels = tmp_path / "labels.jsonl"
    pairs = [("red cars", "Cars, red", "same"), ("red cars", "blue bikes", "different")] * 20
    labels.write_text(
        "".join(
            json.dumps(
                {
                    "query": "q",
                    "tool": "find",
                    "arguments": {"what": f"{gold} {number}"},
                    "predicted": {"what": f"{predicted} {number}"},
                    "label": label,
                }
            )
            + "\n"
            for number, (gold, predicted, label) in enumerate(pairs)
        )
    )

    def scored(name: str, *options: str) -> tuple[Score, dict[str, object]]:
        store = open_store(str(tmp_path / name))
        assert main(["import", "tests", str(tests), "--run", store.uri, "--tools", str(tools)]) == 0

        with teacher("--fixed-reply", 'Action: find\nAction Input: {"what": "Cars red"}') as server:
            context = context_of(store, [], ENDPOINT, f"llm.base_url={server.url}", *options)
            run_stages(("infer",), context)
        with teacher() as server:
            extra = [f"llm.scorer.base_url={server.url}", "evaluate.judge.enabled=true"]
            base = [ENDPOINT, f"llm.base_url={server.url}", *extra, *options]
            run_stages(("evaluate",), context_of(store, [], *base))
        (score,) = read_records(store, layout.SCORES, Score)
        return score, store.read_json(layout.JUDGE_REPORT)

    score, judge = scored("unmeasured")
    assert (score.outcome, score.verdict, score.decided_by) == ("wrong_arguments", "same", "rules")
    assert not judge["gates"]
    assert "no labels" in str(judge["reason"])
    score, judge = scored("measured", f"evaluate.judge.labels={labels}")
    assert (score.outcome, score.verdict, score.decided_by) == ("correct", "same", "judge")
    assert judge["gates"]
    assert judge["agreement"]["n"] == 40  # type: ignore[index]
    assert judge["agreement"]["kappa"] == 1.0  # type: ignore[index]
    page = open_store(str(tmp_path / "measured")).read_bytes("report.html").decode()
    assert "Cohen&#39;s kappa" in page or "Cohen's kappa" in page

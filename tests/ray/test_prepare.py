"""The prepare stage as a whole: what it writes, and what happens when it is interrupted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from exploring import explore, teacher, until
from flow_examples import SPEC, called, trial

from ste_ray.config import Config, load_config
from ste_ray.core import layout
from ste_ray.core.records import Episode, Example, LedgerEntry, TrainRow, Trial
from ste_ray.errors import BudgetExhaustedError, ConfigError, StageInputError, TemporaryError
from ste_ray.runtime import segments
from ste_ray.stages.base import StageContext
from ste_ray.stages.prepare import partitions
from ste_ray.stages.registry import run_stages
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.manifest import StageManifest, write_manifest
from ste_ray.store.tables import read_records, write_records

NO_MODELS = ("prepare.judge=false", "prepare.max_paraphrases=0")
TOOLS = ("add", "sub", "mul", "div")


def explored(store: RunStore, num_trials: int = 30, tools: tuple[str, ...] = TOOLS) -> None:
    """Write a finished exploration: an episode a trial, each with a query and a call of its own."""
    specs = [SPEC.model_copy(update={"name": tool}) for tool in tools]
    store.write_json(layout.TOOLS, [spec.model_dump(mode="json") for spec in specs])
    for number, tool in enumerate(sorted(tools)):
        episodes = [episode(tool, at) for at in range(num_trials)]
        write_records(store, f"explore/episodes/part-{number:05d}.parquet", episodes, Episode)
    config = Config()
    write_manifest(
        store,
        StageManifest(
            stage="explore",
            config=config.stage_fields("explore"),
            config_fingerprint=config.stage_fingerprint("explore"),
            inputs={},
            code_version="1",
            started_at=time.time(),
            seconds=0.0,
            seed=0,
        ),
    )


def episode(tool: str, number: int) -> Episode:
    one = trial(
        (called("ok", number).model_copy(update={"tool": tool}),),
        tool=tool,
        trial_id=f"{tool}-{number}",
        episode_id=f"{tool}-{number}",
        episode_number=number,
        query=f"{'zyx'[number % 3] * 9} {tool} with number {number * 7919} of {number}?",
    )
    return Episode(
        episode_id=one.episode_id,
        tool=tool,
        tool_fingerprint="f",
        episode_number=number,
        messages=(),
        trials=(one,),
    )


def prepare(store: RunStore, *overrides: str, said: list[str] | None = None) -> StageManifest:
    progress = (said if said is not None else []).append
    context = StageContext(load_config(None, overrides), store, progress)
    return run_stages(("prepare",), context)[0]


def general_file(tmp_path: Path, number: int) -> str:
    rows = [
        {"dialog_history": [{"role": "user", "content": f"Question {n}"}], "response": f"{n}."}
        for n in range(number)
    ]
    path = tmp_path / "general.json"
    path.write_text(json.dumps(rows))
    return str(path)


@pytest.mark.usefixtures("ray_cluster")
def test_a_stage_with_rounds_general_data_and_restraint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "TRIALS_PER_PARTITION", 40)  # two tools in the first one
    store = open_store(str(tmp_path / "run"))
    explored(store)
    options = [
        *NO_MODELS,
        f"prepare.mix.general_data={general_file(tmp_path, 30)}",
        "prepare.mix.general_examples=12",
        "prepare.no_call={general: 3, test: 4, held_out_tools: [sub]}",
        "prepare.mix.rounds=[[mul, add], [div]]",
        "prepare.mix.replay_fraction=0.2",
    ]
    manifest = prepare(store, *options)
    stored = read_records(store, layout.EXAMPLES, Example)
    examples = [one for one in stored if one.needs_call]
    tests = [one for one in stored if not one.needs_call]
    rows = read_records(store, layout.ROWS, TrainRow)
    assert [one.split for one in tests] == ["test"] * 4
    assert manifest.counts["no_call_tests"] == 4
    trained_on = {message.content for row in rows for message in row.dialog_history}
    assert not trained_on & {one.query for one in tests}
    ledger = read_records(store, layout.LEDGER, LedgerEntry)
    assert len(ledger) == 120
    assert {one.trial_id for one in ledger} == {f"{t}-{n}" for t in TOOLS for n in range(30)}
    assert len(examples) == 90
    splits: dict[str, set[str]] = {}
    for one in examples:
        splits.setdefault(one.group_id, set()).add(one.split)
    assert all(len(found) == 1 for found in splits.values())
    kinds = Counter(row.kind for row in rows)
    trained = [one for one in examples if one.split != "test"]
    assert kinds == {
        "tool_call": len(trained), "final_answer": len(trained), "general": 12, "no_call": 33,
    }  # fmt: skip
    assert [tool["name"] for tool in store.read_json(layout.PREPARED_TOOLS)] == [
        "add",
        "div",
        "mul",
    ]
    assert store.read_json(layout.PREPARED_TOOLKENS) == ["<tool_add>", "<tool_div>", "<tool_mul>"]
    totals = {one["tool"]: one for one in store.read_json(layout.LEDGER_TOTALS)["tools"]}
    for tool in ("add", "div", "mul"):
        counts = Counter(one.split for one in examples if one.tool == tool)
        assert {name: totals[tool][name] for name in counts} == counts
    assert totals["sub"]["kept"] == 30
    assert manifest.counts["examples"] == 90
    assert any("few examples" in note for note in manifest.notes)
    check_rounds(store, examples, rows)
    assert layout.PREPARE_DONE not in "".join(store.list("prepare"))
    again: list[str] = []
    assert prepare(store, *options, said=again).counts == manifest.counts
    assert "already complete" in again[0]


def check_rounds(store: RunStore, examples: list[Example], rows: list[TrainRow]) -> None:
    """The first round is its tools in full; the second its own and a fifth of the first."""
    by_tool = {
        tool: {one.example_id for one in examples if one.tool == tool and one.split == "train"}
        for tool in TOOLS
    }
    apart = {row.row_id for row in rows if row.kind in ("general", "no_call")}
    validation = {row.row_id for row in rows if row.split == "validation" and row.example_id}
    first, second = (
        read_records(store, f"prepare/rounds/{number:02d}/rows", TrainRow) for number in (0, 1)
    )

    def trained(found: list[TrainRow], tool: str) -> list[str]:
        wanted = (row for row in found if row.tool == tool and row.split == "train")
        return [row.example_id for row in wanted if row.example_id]

    for found in (first, second):
        ids = [row.row_id for row in found]
        assert len(set(ids)) == len(ids)
        assert apart <= set(ids)
        assert all(row in rows for row in found)
    assert not trained(first, "div")
    for tool in ("mul", "add"):
        assert set(trained(first, tool)) == by_tool[tool]
        replayed = Counter(trained(second, tool))
        assert set(replayed) < by_tool[tool]
        assert set(replayed.values()) == {2}  # a call and its answer stay together
        assert abs(len(replayed) - 0.2 * len(by_tool[tool])) <= 1
    total = len(by_tool["mul"]) + len(by_tool["add"])
    replayed_in_all = {*trained(second, "mul"), *trained(second, "add")}
    assert len(replayed_in_all) == round(0.2 * total)
    assert set(trained(second, "div")) == by_tool["div"]
    assert validation <= {row.row_id for row in second}
    index = store.read_json(layout.ROUNDS_INDEX)
    assert [one["tools"] for one in index] == [["add", "mul"], ["div"]]
    assert sum(index[1]["replayed"].values()) == len(replayed_in_all)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_run_in_object_storage(s3_bucket: str, tmp_path: Path) -> None:
    place, rounds = f"s3://{s3_bucket}/runs/one", "prepare.mix.rounds=[[mul, add], [div, sub]]"
    explored(open_store(place))
    local = open_store(str(tmp_path / "run"))
    explored(local)
    prepare(local, *NO_MODELS, rounds)
    # A Ray of its own, whose workers have the credentials in their environment.
    line = [sys.executable, "-m", "ste_ray", "prepare", "--run", place, *NO_MODELS, rounds]
    subprocess.run(line, env=environment(), capture_output=True, timeout=280, check=True)
    stored = open_store(place)
    paths = [path for path in local.list("prepare") if path.endswith((".parquet", "index.json"))]
    assert len(paths) == 4 + 2 + 1
    assert {path for path in stored.list("prepare") if path.endswith(".parquet")} < {*paths}
    assert all(stored.read_bytes(path) == local.read_bytes(path) for path in paths)


@pytest.mark.usefixtures("ray_cluster")
def test_general_data_alone_is_a_baseline(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    explored(store)
    data = f"prepare.mix.general_data={general_file(tmp_path, 5)}"
    prepare(store, *NO_MODELS, data, "prepare.mix.tools=false")
    rows = read_records(store, layout.ROWS, TrainRow)
    assert Counter(row.kind for row in rows) == {"general": 5}
    assert store.read_json(layout.PREPARED_TOOLS) == []
    assert len(read_records(store, layout.EXAMPLES, Example)) == 120


@pytest.mark.usefixtures("ray_cluster")
def test_finished_partitions_are_not_prepared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "TRIALS_PER_PARTITION", 1)
    store = open_store(str(tmp_path / "run"))
    explored(store)

    def interrupted(line: str) -> None:
        if "partition 2 of 4 done" in line:
            raise TemporaryError("the node went away")

    config = load_config(None, [*NO_MODELS, "prepare.num_workers=1"])
    with pytest.raises(TemporaryError):
        run_stages(("prepare",), StageContext(config, store, interrupted))
    finished = [path for path in store.list(layout.PREPARE_DONE) if path.endswith(".json")]
    assert 2 <= len(finished) <= 4
    names = [Path(path).stem for path in finished]
    made = {
        name: Path(store.path(f"prepare/examples/{name}.parquet")).stat().st_mtime_ns
        for name in names
    }
    said: list[str] = []
    prepare(store, *NO_MODELS, "prepare.num_workers=1", said=said)
    assert any(f"{len(finished)} of 4 partitions were finished before" in line for line in said)
    for name, before in made.items():
        assert Path(store.path(f"prepare/examples/{name}.parquet")).stat().st_mtime_ns == before
    assert len(read_records(store, layout.LEDGER, LedgerEntry)) == 120


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    ("overrides", "error", "complaint"),
    [
        (["prepare.mix.rounds=[[add, pow]]"], ConfigError, "rounds names the tool 'pow'"),
        (["prepare.no_call.held_out_tools=[pow]"], ConfigError, "held_out_tools names the tool"),
        (["prepare.mix.tools=false"], ConfigError, "mix.tools=False needs general data"),
        (["prepare.no_call.general=3"], ConfigError, "no_call.general=3 needs general data"),
        (["prepare.no_call.test=3"], ConfigError, "no_call.test=3 needs general data"),
        (["prepare.mix.general_data=/nowhere"], ConfigError, "cannot read general data"),
    ],
)
def test_a_wrong_configuration_writes_nothing(
    tmp_path: Path, overrides: list[str], error: type[Exception], complaint: str
) -> None:
    store = open_store(str(tmp_path / "run"))
    explored(store)
    with pytest.raises(error, match=complaint):
        prepare(store, *NO_MODELS, *overrides)
    # Nothing stands in the way of a corrected configuration.
    assert not [path for path in store.list("prepare") if "failure" not in path]


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("damage", ["no Parquet", "foreign tool", "other records"])
def test_bad_episodes_are_told_in_one_line_and_nothing_is_half_written(
    tmp_path: Path, damage: str
) -> None:
    store = open_store(str(tmp_path / "run"))
    explored(store)
    path = "explore/episodes/part-00001.parquet"
    good = store.read_bytes(path)
    if damage == "no Parquet":
        store.write_bytes(path, b"no Parquet")
        complaint = "is damaged or no Parquet"
    elif damage == "foreign tool":
        write_records(store, path, [episode("pow", 1)], Episode)
        complaint = "'pow', which explore/tools"
    else:
        write_records(store, path, [trial()], Trial)
        complaint = "lacks column"
    with pytest.raises(StageInputError) as caught:
        prepare(store, *NO_MODELS)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(name.endswith("manifest.json") for name in store.list("prepare"))
    assert not any(name.endswith(".parquet") for name in store.list("prepare"))
    if damage == "no Parquet":
        store.write_bytes(path, good)
        prepare(store, *NO_MODELS)


@pytest.mark.usefixtures("ray_cluster")
def test_nothing_left_says_why(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    explored(store)
    for number, tool in enumerate(sorted(TOOLS)):
        unfinished = trial(tool=tool, outcome="out_of_turns")
        one = episode(tool, 0).model_copy(update={"trials": (unfinished,)})
        write_records(store, f"explore/episodes/part-{number:05d}.parquet", [one], Episode)
    with pytest.raises(StageInputError, match=r"no trial passed .*4 x select: out of turns"):
        prepare(store, *NO_MODELS)


SMALL = [
    "tools.include=[add_date, airport, roman_encode]",
    "explore.episodes_per_tool=4",
    "explore.trials_per_episode=3",
]
ASKING = ["prepare.target_per_tool=40", "flush_seconds=0.2"]


def answered_by(server: object) -> int:
    stats: dict[str, int] = server.stats()  # type: ignore[attr-defined]
    return stats["answered"]


def command(place: Path, url: str, *overrides: str) -> list[str]:
    line = [sys.executable, "-m", "ste_ray", "prepare", "--run", str(place)]
    return [*line, f"llm.base_url={url}", *overrides]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}


def workers_of(pid: int) -> list[psutil.Process]:
    """The workers that prepare below a process."""
    found = workers_so_far(pid)
    assert found
    return found


def workers_so_far(pid: int) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any("MapWorker" in part for part in process.cmdline()):
                found.append(process)
    return found


def copies(tmp_path: Path, *names: str) -> list[Path]:
    """Explore once, within this process's Ray, and return copies of the run."""
    with teacher() as server:
        first = tmp_path / "explored"
        explore(open_store(str(first)), [], *SMALL, f"llm.base_url={server.url}")
    for name in names:
        subprocess.run(["cp", "-r", str(first), str(tmp_path / name)], check=True)
    return [tmp_path / name for name in names]


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_stage_goes_on_asks_nothing_again_and_makes_the_same(tmp_path: Path) -> None:
    whole, killed = copies(tmp_path, "whole", "killed")
    with teacher() as server:
        url = f"llm.base_url={server.url}"
        prepare(open_store(str(whole)), *ASKING, url)
        needed = answered_by(server)
    with teacher("--latency-seconds", "0.2") as server:
        arguments = command(killed, server.url, *ASKING, "llm.max_concurrency=4")
        stage = subprocess.Popen(arguments, env=environment(), stderr=subprocess.DEVNULL)
        until(lambda: len(list(killed.glob("prepare/journal/*/*.gz"))) >= 3)
        # The machine goes down: driver, workers and Ray itself.
        below = psutil.Process(stage.pid).children(recursive=True)
        stage.kill()
        stage.wait(timeout=30)
        for process in below:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert not (killed / "prepare/manifest.json").exists()
        before = answered_by(server)
        assert before < needed
        prepare(open_store(str(killed)), *ASKING, f"llm.base_url={server.url}")
        asked = answered_by(server)
    # In flight or not yet flushed at the kill: a second of four requests at once.
    assert needed <= asked <= needed + 30
    one, other = (
        read_records(open_store(str(place)), layout.EXAMPLES, Example) for place in (whole, killed)
    )
    assert one == other
    assert len(one) > 60
    # Merged when the part is done; what the killed stage's worker wrote later does not count.
    assert len(segments.accepted(open_store(str(killed)), "prepare/journal/part-00000")) == 1


@pytest.mark.parametrize("moment", ["a worker starts", "it asks"])
def test_a_stage_that_is_stopped_while_ray_data_works_ends_in_order(
    tmp_path: Path, moment: str
) -> None:
    store = open_store(str(tmp_path / "run"))
    explored(store)
    with teacher("--latency-seconds", "300") as server:
        arguments = command(tmp_path / "run", server.url, *ASKING)
        stage = subprocess.Popen(arguments, env=environment(), stderr=subprocess.PIPE, text=True)
        if moment == "it asks":
            until(lambda: server.stats()["requests"] > 0)
        else:
            until(lambda: bool(workers_so_far(stage.pid)))
        stage.terminate()
        _, errors = stage.communicate(timeout=60)
    assert stage.returncode == 75, errors
    assert errors.splitlines()[-1].startswith("error: stopped by SIGTERM")


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    (place,) = copies(tmp_path, "run")
    with teacher("--latency-seconds", "0.2") as server:
        arguments = command(place, server.url, *ASKING, "llm.max_concurrency=4")
        stage = subprocess.Popen(
            arguments, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        until(lambda: len(list(place.glob("prepare/journal/*/*.gz"))) >= 3)
        for worker in workers_of(stage.pid):
            worker.kill()
        _, errors = stage.communicate(timeout=280)
        assert stage.returncode == 0, errors
        asked = answered_by(server)
    manifest = json.loads((place / "prepare/manifest.json").read_text())
    assert (
        manifest["counts"]["spent"]["calls"] <= asked <= manifest["counts"]["spent"]["calls"] + 30
    )
    ledger = read_records(open_store(str(place)), layout.LEDGER, LedgerEntry)
    assert len({entry.query_id for entry in ledger}) == len(ledger)


@pytest.mark.usefixtures("ray_cluster")
def test_an_exhausted_budget_stops_the_stage_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    (place,) = copies(tmp_path, "run")
    store = open_store(str(place))
    with teacher() as server:
        url = f"llm.base_url={server.url}"
        explored = store.read_json("explore/manifest.json")["counts"]["spent"]["calls"]
        with pytest.raises(BudgetExhaustedError):  # what was spent on exploring counts too
            prepare(store, *ASKING, url, f"budget.max_calls={explored + 40}")
        first = answered_by(server)
        manifest = prepare(store, *ASKING, url, f"budget.max_calls={explored + 1000}")
        assert first > 0
        assert answered_by(server) == manifest.counts["spent"]["calls"]

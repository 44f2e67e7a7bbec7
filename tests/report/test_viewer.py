"""A whole run served: every prediction and trial is found, and a real browser shows it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.core.records import Episode, Judgment, LedgerEntry, Prediction, Score
from ste_ray.report.viewer import serve
from ste_ray.stages.report.viewing import StoredWholeRun
from ste_ray.store.artifacts import RunStore, open_store
from ste_ray.store.tables import write_records

from .browser import opened

MODELS = {
    layout.EPISODES: Episode,
    layout.JUDGMENTS: Judgment,
    layout.LEDGER: LedgerEntry,
    layout.PREDICTIONS: Prediction,
    layout.SCORES: Score,
}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, tables: dict[str, Any], run: Any) -> RunStore:
    found = open_store(str(tmp_path_factory.mktemp("whole")))
    for folder, model in MODELS.items():
        records = tables[folder]
        for part in range(2):
            path = f"{folder}/part-{part}.parquet"
            write_records(found, path, records[part::2], model)
    for path, value in run.files.items():
        found.write_json(path, value)
    found.write_json("explore/started.json", {})
    return found


def visit(
    store: RunStore,
    visitor: Callable[[str], Awaitable[None]],
    allow_hosts: Sequence[str] = (),
) -> None:
    """Serve the run and let the visitor look at it."""

    async def session() -> None:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        whole = StoredWholeRun(store)
        serving = serve(whole, "127.0.0.1", 0, ready.set_result, allow_hosts)
        server = asyncio.create_task(serving)
        try:
            await visitor(await asyncio.wait_for(ready, 10))
        finally:
            server.cancel()

    asyncio.run(session())


def test_everything_is_found(store: RunStore, tables: dict[str, Any]) -> None:
    whole = StoredWholeRun(store)
    everything = {"setting": "", "outcome": "", "tool": "", "text": ""}
    found = whole.find_predictions(**everything, start=0, limit=50)
    assert (found.total, len(found.predictions)) == (900, 50)
    asked = {**everything, "setting": "tuned/toolken", "outcome": "wrong_tool"}
    expected = {
        one.example_id
        for one in tables[layout.SCORES]
        if (one.setting, one.outcome) == ("tuned/toolken", "wrong_tool")
    }
    wrong = whole.find_predictions(**asked, start=0, limit=1000)
    assert wrong.total == len(wrong.predictions) == len(expected)
    assert {one.outcome for one in wrong.predictions} == {"wrong_tool"}
    query = wrong.predictions[0].query
    narrowed = whole.find_predictions(**{**asked, "text": query.upper()}, start=0, limit=10)
    assert query in {one.query for one in narrowed.predictions}
    assert narrowed.total < found.total
    trials = whole.find_trials(result="", tool="airport", text="", start=0, limit=1000)
    assert trials.total == sum(
        trial.tool == "airport" for one in tables[layout.EPISODES] for trial in one.trials
    )
    assert {one.tool for one in trials.trials} == {"airport"}
    assert whole.choices()["setting"] == sorted({one.setting for one in tables[layout.SCORES]})


def test_only_its_own_names_are_answered_and_nobody_frames_it(store: RunStore) -> None:
    async def look(url: str) -> None:
        port = url.rpartition(":")[2]
        async with aiohttp.ClientSession() as session:

            async def status(host: str) -> int:
                async with session.get(url, headers={"Host": host}) as response:
                    assert response.headers["X-Frame-Options"] == "DENY"
                    policy = response.headers["Content-Security-Policy"]
                    assert policy == "frame-ancestors 'none'"
                    assert response.headers["X-Content-Type-Options"] == "nosniff"
                    return response.status

            own = (f"127.0.0.1:{port}", "localhost", f"[::1]:{port}", "192.0.2.7", "LOCALHOST.")
            for host in own:
                assert await status(host) == 200
            for host in ("evil.test", f"evil.test:{port}", "127.0.0.1.evil.test", "localhost.evil"):
                assert await status(host) == 421
            assert await status("viewer.test:8080") == 200

    visit(store, look, allow_hosts=["viewer.test"])


def test_pages_and_their_mistakes(store: RunStore) -> None:
    async def look(url: str) -> None:
        async with aiohttp.ClientSession() as session:

            async def get(path: str) -> tuple[int, str]:
                async with session.get(f"{url}{path}") as response:
                    return response.status, await response.text()

            status, report = await get("/")
            assert status == 200
            assert 'href="/predictions"' in report
            status, first = await get("/predictions")
            assert (status, first.count('class="item"')) == (200, 50)
            assert "page 1 of 18" in first
            status, last = await get("/predictions?page=17")
            assert last.count('class="item"') == 50
            status, beyond = await get("/predictions?page=9999")
            assert "Nothing matches" in beyond
            status, found = await get("/trials?tool=%3Cscript%3E&text=%22%3E%3Cb%3E")
            assert status == 200
            assert "<b>" not in found.split("<main", 1)[1]
            for path in ("/predictions?page=-1", "/predictions?page=x", "/trials?page=99999999"):
                assert (await get(path))[0] == 400
            assert (await get("/etc/passwd"))[0] == 404
            async with session.post(f"{url}/predictions") as response:
                assert response.status == 405

    visit(store, look)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: chromium)")
@pytest.mark.parametrize("path", ["/predictions", "/trials"])
def test_a_browser_shows_it_at_phone_width(store: RunStore, tmp_path: Path, path: str) -> None:
    async def look(url: str) -> None:
        assert CHROMIUM is not None
        async with opened(CHROMIUM, f"{url}{path}", tmp_path / "profile", 360) as tab:
            width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await tab.evaluate(width) == 0
            await tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert await tab.evaluate(width) == 0
            assert tab.problems == []

    visit(store, look)


def test_a_run_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["view", str(tmp_path)], ["report", "--run", str(tmp_path)]):
        assert main(command) == 2
        message = capsys.readouterr().err.strip()
        assert message.startswith("error: there is no run at")
        assert "\n" not in message


def test_reports_are_written_where_they_are_wanted(
    store: RunStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--run", store.uri]) == 0
    assert capsys.readouterr().out.strip() == store.address("report.html")
    assert b"<!doctype html>" in store.read_bytes("report.html")
    assert main(["report", "--run", store.uri, "--format", "markdown"]) == 0
    assert capsys.readouterr().out.startswith("# whole")
    out = tmp_path / "c.md"
    assert main(["report", "--compare", store.uri, store.uri, "--out", str(out), "--json"]) == 0
    assert out.read_text().startswith("# Two runs compared")
    assert '"n": 300' in capsys.readouterr().out
    assert main(["report", "--run", store.uri, "--settings", "a", "b"]) == 2
    assert main(["report", "--run", store.uri, "--out", str(tmp_path / "no" / "r.html")]) == 2

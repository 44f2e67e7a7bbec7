"""How large the report of a large run is, and how soon a browser shows it."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import time
from pathlib import Path

from tables import Row

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own packages

from report import synthetic
from report.browser import opened

from ste_ray.core import layout
from ste_ray.core.scoring.scores import score_prediction
from ste_ray.report.assemble import assemble_report
from ste_ray.report.html import render_html

GOAL_SECONDS, GOAL_MB = 3.0, 25.0
_PER_TOOL = 1_667  # of 20 tools in 3 settings
_READY = "document.documentElement?.classList.contains('js') ?? false"


def measure(folder: Path) -> list[Row]:
    """Write the report of a synthetic run, and open it in headless Chromium."""
    folder.mkdir(parents=True)
    rng = random.Random(0)
    predictions = synthetic.predictions(rng, per_tool=_PER_TOOL)
    specs = synthetic.specs()
    scores = [score_prediction(one, specs) for one in predictions]
    episodes = synthetic.episodes(rng, per_tool=500)
    judgments, ledger, examples = synthetic.prepared(rng, episodes)
    by_setting = {
        setting: [score for score in scores if score.setting == setting]
        for setting in synthetic.SETTINGS
    }
    files = {
        layout.LEDGER_TOTALS: synthetic.totals(ledger, examples).model_dump(mode="json"),
        layout.EVALUATION_SUMMARY: synthetic.summary_of(by_setting).model_dump(mode="json"),
        layout.TRAIN_METRICS: synthetic.metrics(rng, steps=20_000),
    }
    tables = {
        layout.EPISODES: episodes,
        layout.JUDGMENTS: judgments,
        layout.LEDGER: ledger,
        layout.PREDICTIONS: predictions,
        layout.SCORES: scores,
    }
    started = time.perf_counter()
    page = render_html(
        assemble_report(synthetic.FakeReader(tables, files, synthetic.manifests()), 1.0)
    )
    seconds = time.perf_counter() - started
    file = folder / "report.html"
    file.write_text(page, encoding="utf-8", errors="replace")
    size = file.stat().st_size / 2**20
    rows = [
        Row(
            f"{len(predictions):,} predictions, {sum(len(e.trials) for e in episodes):,} trials:"
            " size of the page",
            f"{size:.1f} MB (written in {seconds:.1f} s)",
            f"≤ {GOAL_MB:g} MB",
            size <= GOAL_MB,
        )
    ]
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        return [*rows, Row("until a browser shows it", "no Chromium here")]
    shown = asyncio.run(_shown(chromium, file, folder / "profile"))
    return [
        *rows,
        Row(
            "until headless Chromium shows it, script run",
            f"{shown:.2f} s",
            f"< {GOAL_SECONDS:g} s",
            shown < GOAL_SECONDS,
        ),
    ]


async def _shown(chromium: str, file: Path, profile: Path) -> float:
    """Return the seconds from going to the page until it is laid out and its script has run."""
    async with opened(chromium, "about:blank", profile, 1200) as tab:
        tab._loaded = False
        started = time.perf_counter()
        await tab.send("Page.navigate", url=file.as_uri())
        while not await tab.evaluate(_READY):  # noqa: ASYNC110 (the browser tells no event)
            await asyncio.sleep(0.01)
        await tab.evaluate("document.body.offsetHeight")
        return time.perf_counter() - started

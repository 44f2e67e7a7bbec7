"""The page in a real browser: it works from a file, at any width, in both themes."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from ste_ray.core import layout
from ste_ray.report.assemble import ReportData, assemble_report
from ste_ray.report.html import render_html

from . import synthetic
from .browser import Page, opened

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: chromium)")

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SHOWN = "[...document.querySelectorAll('#{list} > .item')].filter(i => i.offsetParent).length"


def visit(tmp_path: Path, text: str, width: int, actions: Any, dark: bool = False) -> None:
    """Open the page from a file, run ``actions`` on it, and check that nothing went wrong."""
    file = tmp_path / "report.html"
    file.write_text(text, encoding="utf-8")

    async def session() -> None:
        assert CHROMIUM is not None
        profile = tmp_path / "profile"
        async with opened(CHROMIUM, file.as_uri(), profile, width, dark) as page:
            await actions(page)
            assert page.problems == []
            assert page.requests == [file.as_uri()]

    asyncio.run(session())


@pytest.mark.parametrize("width", [360, 1200])
def test_fits_the_screen_and_runs_its_script(tmp_path: Path, page: str, width: int) -> None:
    async def actions(tab: Page) -> None:
        assert await tab.evaluate("innerWidth") == width
        assert await tab.evaluate("document.documentElement.classList.contains('js')")
        assert await tab.evaluate(OVERFLOW) == 0
        await tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        await tab.evaluate("document.querySelectorAll('button.more').forEach(b => b.click())")
        assert await tab.evaluate(SHOWN.format(list="trial-list")) == 60
        assert await tab.evaluate(OVERFLOW) == 0
        # Text of plots is readable: no smaller than 9 pixels on the screen.
        scale = "document.querySelector('.plot').getBoundingClientRect().width / 340"
        assert 11 * await tab.evaluate(scale) >= 9

    visit(tmp_path, page, width, actions)


def test_filters(tmp_path: Path, page: str, data: ReportData) -> None:
    tool = data.trials[0].tool
    of_tool = sum(trial.tool == tool for trial in data.trials)
    form = "document.querySelector('form[data-filters=trial-list]')"
    shown = SHOWN.format(list="trial-list")

    def choose(field: str, value: str) -> str:
        change = "dispatchEvent(new Event('input', {bubbles: true}))"
        return f"{form}.elements.{field}.value = {value!r}; {form}.elements.{field}.{change}"

    async def actions(tab: Page) -> None:
        assert await tab.evaluate(shown) == 15
        await tab.evaluate(choose("tool", tool))
        assert await tab.evaluate(shown) == of_tool
        assert await tab.evaluate(f"{form}.querySelector('output').textContent") == (
            f"{of_tool} of 60"
        )
        await tab.evaluate(choose("text", "no such words"))
        assert await tab.evaluate(shown) == 0
        assert not await tab.evaluate("document.querySelector('#trial-list > .empty').hidden")
        await tab.evaluate(choose("text", ""))
        await tab.evaluate(choose("tool", ""))
        await tab.evaluate(choose("result", "solved at once"))
        expected = sum(trial.result == "solved at once" for trial in data.trials)
        assert await tab.evaluate(shown) == expected > 0

    visit(tmp_path, page, 1200, actions)


def test_sorting_and_theme(tmp_path: Path, page: str, data: ReportData) -> None:
    assert data.evaluation is not None
    names = sorted(row.tool for row in data.evaluation.tools)
    table = "document.querySelector('#tools table')"
    column = f"[...{table}.tBodies[0].rows].map(r => r.cells[0].textContent)"
    background = "getComputedStyle(document.body).backgroundColor"

    async def actions(tab: Page) -> None:
        assert await tab.evaluate(column) == [row.tool for row in data.evaluation.tools]
        await tab.evaluate(f"{table}.querySelector('th button').click()")
        assert await tab.evaluate(column) == names
        await tab.evaluate(f"{table}.querySelector('th button').click()")
        assert await tab.evaluate(column) == names[::-1]
        dark = await tab.evaluate(background)
        await tab.evaluate("document.getElementById('theme').click()")
        assert await tab.evaluate("document.documentElement.dataset.theme") == "light"
        assert await tab.evaluate(background) == "rgb(253, 252, 250)" != dark

    visit(tmp_path, page, 1200, actions, dark=True)


def test_untrusted_text_is_shown_and_not_run(tmp_path: Path, tables: dict[str, Any]) -> None:
    attack = "</script><script>document.title = 'owned'</script><img src=x onerror=alert(1)>"
    episode = tables[layout.EPISODES][0]
    trial = episode.trials[0].model_copy(update={"query": attack, "tool": f'a"b<i>{attack}'})
    hostile = episode.model_copy(update={"trials": (trial,)})
    reader = synthetic.FakeReader({layout.EPISODES: [hostile]})

    async def actions(tab: Page) -> None:
        assert "owned" not in await tab.evaluate("document.title")
        assert await tab.evaluate("document.querySelectorAll('script').length") == 1
        assert await tab.evaluate("document.querySelectorAll('img').length") == 0
        assert await tab.evaluate("document.querySelector('.item .q').textContent") == attack

    visit(tmp_path, render_html(assemble_report(reader, 0.0)), 360, actions)

"""A web server that shows a whole run in the look of its report: every prediction and every trial.

The report holds samples, because it must stay small; here one can search and page through all of
them. It answers GET alone, reads nothing but the run, and is meant for the person who started it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from ste_ray.report.evaluation import OUTCOME_LABELS
from ste_ray.report.html import render_html, render_page
from ste_ray.report.model import PredictionView, ReportData, TrialView
from ste_ray.report.trials import RESULTS

PAGE_SIZE = 50
_MAX_PAGES = 1_000_000


@dataclass(frozen=True)
class Found:
    """A page of what was searched for.

    Attributes:
        total: how many there are in all.
        predictions: those of the page, for a search of predictions.
        trials: those of the page, for a search of trials.
    """

    total: int
    predictions: Sequence[PredictionView] = ()
    trials: Sequence[TrialView] = ()


class WholeRun(Protocol):
    """Everything that a run holds to read."""

    def report(self) -> ReportData:
        """Return what the report shows."""
        ...

    def choices(self) -> Mapping[str, Sequence[str]]:
        """Return the tools and settings to choose from, under ``tool`` and ``setting``."""
        ...

    def find_predictions(
        self, *, setting: str, outcome: str, tool: str, text: str, start: int, limit: int
    ) -> Found:
        """Return predictions; an empty filter lets all through, ``text`` holds words."""
        ...

    def find_trials(self, *, result: str, tool: str, text: str, start: int, limit: int) -> Found:
        """Return trials, likewise."""
        ...


def make_app(run: WholeRun) -> web.Application:
    """Return the web application of a run."""

    async def report(request: web.Request) -> web.Response:
        return _page(render_html(run.report(), whole_run=True))

    async def predictions(request: web.Request) -> web.Response:
        asked = {name: request.query.get(name, "") for name in ("setting", "outcome", "tool")}
        text, number = request.query.get("text", ""), _page_number(request)
        found = run.find_predictions(**asked, text=text, start=number * PAGE_SIZE, limit=PAGE_SIZE)
        choices = run.choices()
        selects = [
            ("setting", "Setting", [(name, name) for name in choices["setting"]]),
            ("outcome", "Outcome", list(OUTCOME_LABELS.items())),
            ("tool", "Tool", [(name, name) for name in choices["tool"]]),
        ]
        return _list("predictions", found, asked | {"text": text}, selects, number)

    async def trials(request: web.Request) -> web.Response:
        asked = {name: request.query.get(name, "") for name in ("result", "tool")}
        text, number = request.query.get("text", ""), _page_number(request)
        found = run.find_trials(**asked, text=text, start=number * PAGE_SIZE, limit=PAGE_SIZE)
        selects = [
            ("result", "Result", [(name, name) for name in RESULTS]),
            ("tool", "Tool", [(name, name) for name in run.choices()["tool"]]),
        ]
        return _list("trials", found, asked | {"text": text}, selects, number)

    app = web.Application()
    app.add_routes(
        [
            web.get("/", report),
            web.get("/predictions", predictions),
            web.get("/trials", trials),
        ]
    )
    return app


async def serve(run: WholeRun, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve a run until it is cancelled; ``ready`` is told the address.

    Raises:
        OSError: the address cannot be used.
    """
    runner = web.AppRunner(make_app(run), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        ready(f"http://{host}:{runner.addresses[0][1]}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _list(
    kind: str,
    found: Found,
    asked: Mapping[str, str],
    selects: Sequence[tuple[str, str, Sequence[tuple[str, str]]]],
    number: int,
) -> web.Response:
    last = max(0, -(-found.total // PAGE_SIZE) - 1)
    return _page(
        render_page(
            "whole.html.j2",
            kind=kind,
            found=found,
            asked=asked,
            selects=selects,
            number=number,
            last=last,
            page_size=PAGE_SIZE,
            form_action="'self'",
        )
    )


def _page(text: str) -> web.Response:
    # Models emit halves of characters, which have no UTF-8 form.
    body = text.encode("utf-8", errors="replace")
    headers = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)


def _page_number(request: web.Request) -> int:
    text = request.query.get("page", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 7:
        raise web.HTTPBadRequest(text=f"page={text!r} must be a number from 0")
    return min(int(text), _MAX_PAGES)

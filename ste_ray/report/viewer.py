"""A web server that shows a whole run in the look of its report: every prediction and every trial.

The report holds samples, because it must stay small; here one can search and page through all of
them. It answers GET alone, reads nothing but the run, and is meant for the person who started it.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from ste_ray.process.web_app import http_address, serve_app
from ste_ray.report.assemble import ReportData
from ste_ray.report.html import render_html, render_page
from ste_ray.report.predictions import OUTCOME_LABELS, PredictionView
from ste_ray.report.trials import RESULTS, TrialView

PAGE_SIZE = 50
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# The pages say in themselves what they may load; who may frame them, only a header can.
_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
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


def make_app(run: WholeRun, hosts: Collection[str] = ()) -> web.Application:
    """Return the web application of a run.

    Args:
        run: what it shows.
        hosts: names that it may be asked by, beside ``localhost`` and addresses in numbers. A page
            of somebody else's could otherwise have its own name lead here, and read what it likes.
    """
    allowed = {"localhost", *(host.lower().rstrip(".") for host in hosts)}

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _is_allowed(request.headers.get("Host", ""), allowed):
            raise web.HTTPMisdirectedRequest(
                text="this name is not one of the viewer's; ask it by its address, or start it "
                "with --allow-host NAME"
            )
        return await handler(request)

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

    app = web.Application(middlewares=[guard])
    app.on_response_prepare.append(_add_headers)
    app.add_routes(
        [
            web.get("/", report),
            web.get("/predictions", predictions),
            web.get("/trials", trials),
        ]
    )
    return app


async def serve(
    run: WholeRun,
    host: str,
    port: int,
    ready: Callable[[str], None],
    allow_hosts: Collection[str] = (),
) -> None:
    """Serve a run until it is cancelled; ``ready`` is told the address.

    Args:
        run: what is shown.
        host: the address to listen at.
        port: the port; 0 takes any.
        ready: is told the address.
        allow_hosts: further names that it may be asked by.

    Raises:
        OSError: the address cannot be used.
    """
    names = (host, socket.gethostname(), socket.getfqdn(), *allow_hosts)
    # The host as it was given, since it is the one that requests may name.
    await serve_app(
        make_app(run, names), host, port, lambda _, bound: ready(http_address(host, bound))
    )


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
    return web.Response(body=body, content_type="text/html", charset="utf-8")


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _is_allowed(host: str, allowed: Collection[str]) -> bool:
    """Whether a ``Host`` header names this server: nobody can make an address lead elsewhere."""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    name = name.lower().rstrip(".")
    return name in allowed or name.endswith(".localhost")


def _page_number(request: web.Request) -> int:
    text = request.query.get("page", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 7:
        raise web.HTTPBadRequest(text=f"page={text!r} must be a number from 0")
    return min(int(text), _MAX_PAGES)

"""A deployed model beside what was recorded of it, as plain text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from ste_ray.core.scoring.served import ComparedReply, Reading, ServedSummary, Share, Times
from ste_ray.report.numbers import NOTHING, percent, points
from ste_ray.report.terminal_tables import aligned

_MAX_DIFFERENCES = 20
_MAX_QUERY_CHARS = 160


def way_label(streamed: bool) -> str:
    """Return how a way of asking is called."""
    return "streamed" if streamed else "plain"


def served_table(ways: Sequence[ServedSummary]) -> str:
    """Return a row a figure, with a column for what was recorded and one for each way."""
    first = ways[0]

    def row(label: str, recorded: str, cell: Callable[[ServedSummary], str]) -> list[str]:
        return [label, recorded, *(cell(way) for way in ways)]

    rows = [
        row("requests", str(first.requests), lambda way: str(way.requests)),
        row("calls as recorded", "", lambda way: _share(way.same)),
        row("right calls", _share(first.right_recorded), lambda way: _share(way.right_served)),
        row(
            "needless calls",
            _share(first.needless_recorded),
            lambda way: _share(way.needless_served),
        ),
        row("not answered", "", lambda way: str(way.errors)),
        row("latency, p50; p95", "", lambda way: _times(way.latency)),
        row("first token, p50; p95", "", lambda way: _times(way.first_token)),
        row("tokens/s", "", lambda way: _rate(way.tokens_per_second)),
    ]
    header = ["", "recorded", *(way_label(way.streamed) for way in ways)]
    return aligned(header, rows)


def served_differences(streamed: bool, differing: Sequence[ComparedReply]) -> str:
    """Return the requests whose call is not as recorded, with both; of many the first ones."""
    lines = []
    for one in differing[:_MAX_DIFFERENCES]:
        assert one.recorded is not None
        lines.append(f"differs, {way_label(streamed)}: {one.example_id} {_quoted(one.query)}")
        lines.append(f"  recorded: {_told(one.recorded)}")
        lines.append(f"  served:   {_told(one.served)}")
    more = len(differing) - _MAX_DIFFERENCES
    if more > 0:
        lines.append(f"… and {more} more; --json or --out FILE tells all")
    return "\n".join(lines)


def served_verdict(way: ServedSummary, tolerance: float, accuracy_tolerance: float) -> str:
    """Say whether the deployed model calls as recorded, and by how much it does not."""
    verdict = "equal" if way.within(tolerance, accuracy_tolerance) else "different"
    differing = way.same.of - way.same.count
    return (
        f"{verdict}, {way_label(way.streamed)}: {differing} of {way.same.of} calls differ"
        f" ({percent(way.differing_share)}; allowed {percent(tolerance)}), right calls"
        f" {points(way.right_served.share - way.right_recorded.share)} points (allowed fall"
        f" {100 * accuracy_tolerance:.1f})"
    )


def _share(share: Share) -> str:
    return f"{share.count} of {share.of} ({percent(share.share)})" if share.of else NOTHING


def _times(times: Times | None) -> str:
    return NOTHING if times is None else f"{_seconds(times.p50)}; {_seconds(times.p95)}"


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _rate(tokens_per_second: float | None) -> str:
    return NOTHING if tokens_per_second is None else f"{tokens_per_second:.1f}"


def _quoted(query: str) -> str:
    text = json.dumps(" ".join(query.split()), ensure_ascii=False)
    return text if len(text) <= _MAX_QUERY_CHARS else f'{text[: _MAX_QUERY_CHARS - 2]}…"'


def _told(reading: Reading) -> str:
    return f"{reading.shown} ({reading.outcome.replace('_', ' ')})"

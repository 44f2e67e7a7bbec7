"""How far an exploration is: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from tqdm import tqdm

from ste_ray.process.output import printable
from ste_ray.stages.explore.messages import Status

Limits = Mapping[str, float | None]  # see RateLimits.snapshot

_SECONDS_BETWEEN_LINES = 5.0
_RATE_SECONDS = 20.0  # over which calls a second are averaged
_BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} episodes [{elapsed}<{unit}{postfix}]"


class StatusDisplay:
    """Shows statuses of one exploration.

    Args:
        say: takes a line, where no bar can be drawn.
        stream: where a bar is drawn if it is a terminal.
        live: False never draws a bar.
    """

    def __init__(
        self, say: Callable[[str], None], stream: TextIO = sys.stderr, live: bool = True
    ) -> None:
        self._say = say
        self._stream = stream
        self._live = live and stream.isatty()
        self._bar: tqdm[Any] | None = None
        self._first_ended: int | None = None
        self._started = time.monotonic()
        self._last_line = 0.0
        self._recent: deque[tuple[float, float]] = deque()  # time, replies so far

    def show(self, status: Status, limits: Mapping[str, Limits], final: bool = False) -> None:
        """Show a status.

        Args:
            status: how far it is.
            limits: what the limit server says of each endpoint.
            final: whether it is the last one, which is always shown.
        """
        now = time.monotonic()
        self._recent.append((now, status.counts["model"]))
        while now - self._recent[0][0] > _RATE_SECONDS:
            self._recent.popleft()
        if self._first_ended is None:
            self._first_ended = _ended(status)
        if self._live:
            self._draw(status, limits)
        elif final or now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._say(
                f"explore: {status.tools_done}/{status.tools} tools, "
                f"{_ended(status)}/{status.episodes} episodes, "
                f"{_figures(status, self._calls_per_second())}, ETA {self._eta(status)}"
                f"{_shown(limits)}"
            )

    def say(self, line: str) -> None:
        """Say a line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(printable(line), file=self._stream)
        else:
            self._say(line)

    def close(self) -> None:
        """Leave the bar as it is and give the terminal free."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, status: Status, limits: Mapping[str, Limits]) -> None:
        bar = self._bar
        if bar is None:
            bar = self._bar = tqdm(
                total=status.episodes, file=self._stream, bar_format=_BAR, dynamic_ncols=True
            )
        bar.n = _ended(status)
        bar.set_description_str(f"explore {status.tools_done}/{status.tools} tools", refresh=False)
        bar.unit = self._eta(status)
        text = f"{_figures(status, self._calls_per_second())}{_shown(limits)}"
        bar.set_postfix_str(text, refresh=False)
        bar.refresh()

    def _calls_per_second(self) -> float:
        (begun, before), (ended, after) = self._recent[0], self._recent[-1]
        return (after - before) / (ended - begun) if ended > begun else 0.0

    def _eta(self, status: Status) -> str:
        ended = _ended(status)
        done, left = ended - (self._first_ended or 0), status.episodes - ended
        if not left:
            return "0:00"
        if not done:
            return "?"
        seconds = int((time.monotonic() - self._started) / done * left)
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _ended(status: Status) -> int:
    """Return how many episodes are over; they are stored many at a time, a little later."""
    return max(status.episodes_ended, status.episodes_stored)


def _figures(status: Status, calls_per_second: float) -> str:
    counts = status.counts
    faults = sum(value for name, value in counts.items() if name.startswith("fault "))
    tokens = counts["prompt_tokens"] + counts["completion_tokens"]
    parts = [
        f"${counts['usd']:.2f}",
        f"{counts['model']} replies ({calls_per_second:.1f}/s)",
        f"{_short(tokens)} tokens{_reasoning(counts)}",
        f"{counts['tool']} tool calls",
    ]
    parts += [f"{counts['replayed']} replayed"] if counts["replayed"] else []
    parts.append(f"{counts['tool_failures']} failed calls")
    parts += [f"{counts['tool_not_made']} not made"] if counts["tool_not_made"] else []
    parts += [f"{faults} endpoint faults"] if faults else []
    if status.tools_stopped:
        parts.append(f"{len(status.tools_stopped)} tools stopped by the budget")
    return ", ".join(parts)


def _reasoning(counts: Mapping[str, float]) -> str:
    """Say how much of the replies is reasoning, where any is."""
    if not counts.get("reasoned"):
        return ""
    share = counts["reasoning_tokens"] / max(1, counts["completion_tokens"])
    return f" ({share:.0%} of the completions reasoning)"


def _short(number: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"


def _shown(limits: Mapping[str, Limits]) -> str:
    """Say what the rate limits are taken for, and how often a request was refused."""
    parts = []
    for figures in limits.values():
        for name, unit in (("requests_per_minute", "rpm"), ("tokens_per_minute", "tpm")):
            if figures[name] is not None:
                parts.append(f"limit {_short(figures[name] or 0)} {unit}")
        if figures["refused"]:
            parts.append(f"{figures['refused']:.0f} refused")
    return "".join(f", {part}" for part in parts)

"""StatusDisplay of an exploration: lines where nobody watches, a bar in a (pseudo-)terminal."""

from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import termios
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ste_ray.stages.explore import display
from ste_ray.stages.explore.display import StatusDisplay
from ste_ray.stages.explore.messages import Status

COUNTS = {
    "model": 120,
    "tool": 60,
    "tool_failures": 3,
    "prompt_tokens": 12_000,
    "completion_tokens": 345,
    "usd": 1.234,
}


def status(counts: dict[str, float] | None = None, **fields: Any) -> Status:
    known = {"tools": 4, "tools_done": 1, "tools_active": 2, "episodes": 60, "episodes_stored": 15}
    stopped = fields.pop("tools_stopped", {})
    counted = Counter({**COUNTS, **(counts or {})})
    return Status(tools_stopped=stopped, counts=counted, **{**known, **fields})


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(display, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


class TestLines:
    """Where there is no terminal, for example under ``ray job logs``."""

    @pytest.fixture
    def lines(self) -> list[str]:
        return []

    @pytest.fixture
    def shown(self, clock: Clock, lines: list[str]) -> StatusDisplay:
        return StatusDisplay(lines.append, io.StringIO())

    def test_the_share_of_reasoning_is_shown(self, lines: list[str], clock: Clock) -> None:
        counts = {"reasoned": 3, "reasoning_tokens": 276}
        StatusDisplay(lines.append, io.StringIO()).show(status(counts), {})
        assert "12.3k tokens (80% of the completions reasoning)" in lines[0]

    def test_a_line_has_all_figures(self, shown, lines):
        shown.show(status(), {})
        [line] = lines
        figures = line.removeprefix("explore: ").split(", ")
        assert figures[:2] == ["1/4 tools", "15/60 episodes"]
        assert sorted(figures[2:]) == sorted(
            [
                "120 replies (0.0/s)",
                "60 tool calls",
                "12.3k tokens",
                "$1.23",
                "3 failed calls",
                "ETA ?",
            ]
        )

    def test_what_is_rare_is_said_where_it_happened(self, shown, lines):
        counts = {"replayed": 40, "fault timeout": 2, "fault rate_limited": 5}
        shown.show(status(counts, tools_stopped={"a": "budget", "b": "budget"}), {})
        assert "40 replayed" in lines[0]
        assert "7 endpoint faults" in lines[0]
        assert "2 tools stopped by the budget" in lines[0]

    def test_rate_limits_are_said_once_known(self, shown, lines):
        unknown = {"requests_per_minute": None, "tokens_per_minute": None, "refused": 0}
        known = {"requests_per_minute": 500.0, "tokens_per_minute": 2e6, "refused": 12}
        shown.show(status(), {"one": unknown})
        assert "limit" not in lines[0]
        assert "refused" not in lines[0]
        shown.show(status(), {"one": unknown, "two": known}, final=True)
        assert lines[1].endswith(", limit 500 rpm, limit 2.0M tpm, 12 refused")

    def test_there_is_a_line_every_five_seconds(self, shown, lines, clock):
        times = []
        for _ in range(41):  # 20 s
            before = len(lines)
            shown.show(status(), {})
            if len(lines) > before:
                times.append(clock.seconds - 1000)
            clock.seconds += 0.5
        assert times == [0, 5, 10, 15, 20]

    def test_the_last_status_is_always_shown(self, shown, lines, clock):
        shown.show(status(), {})
        clock.seconds += 0.5
        shown.show(status(tools_done=4, episodes_stored=60), {}, final=True)
        assert len(lines) == 2
        assert lines[1].startswith("explore: 4/4 tools, 60/60 episodes, ")
        assert lines[1].endswith("ETA 0:00")

    def test_what_is_said_never_waits(self, shown, lines, clock):
        shown.show(status(), {})
        clock.seconds += 0.5
        shown.say("the endpoint pauses")
        shown.show(status(), {})
        shown.say("an explorer was lost")
        assert lines[1:] == ["the endpoint pauses", "an explorer was lost"]

    def test_calls_that_were_not_made_stand_apart(self, shown, lines):
        shown.show(status({"tool_not_made": 7}), {})
        assert ", 60 tool calls, 3 failed calls, 7 not made, " in lines[0]

    def test_replies_a_second_are_those_of_the_last_twenty_seconds(self, shown, lines, clock):
        for second in range(31):  # 10 a second, then 2 a second
            replies = 10 * min(second, 10) + 2 * max(0, second - 10)
            shown.show(status({"model": replies}), {}, final=True)
            clock.seconds += 1
        rates = [re.findall(r"replies \((.*)/s\)", line)[0] for line in lines]
        assert rates[:3] == ["0.0", "10.0", "10.0"]
        assert rates[10] == "10.0"
        assert rates[20] == "6.0"
        assert rates[30] == "2.0"

    @pytest.mark.parametrize(
        ("seconds", "stored", "eta"),
        [(10, 15, "?"), (10, 20, "0:01:20"), (90, 30, "0:03:00"), (7200, 30, "4:00:00")],
    )
    def test_eta_is_by_what_this_attempt_stored(self, shown, lines, clock, seconds, stored, eta):
        shown.show(status(episodes_stored=15), {})  # 15 are there from the attempt before
        clock.seconds += seconds
        shown.show(status(episodes_stored=stored), {}, final=True)
        assert lines[-1].endswith(f", ETA {eta}")

    def test_episodes_that_have_ended_count_before_they_are_stored(self, shown, lines, clock):
        shown.show(status(episodes_stored=0, episodes_ended=0), {})
        clock.seconds += 10
        shown.show(status(episodes_stored=0, episodes_ended=20), {}, final=True)
        assert ", 20/60 episodes, " in lines[-1]
        assert lines[-1].endswith(", ETA 0:00:20")

    @pytest.mark.parametrize(
        ("tokens", "text"),
        [(0, "0"), (999, "999"), (1000, "1.0k"), (2_340_000, "2.3M"), (5e9, "5.0G")],
    )
    def test_large_numbers_are_short(self, shown, lines, tokens, text):
        shown.show(status({"prompt_tokens": tokens, "completion_tokens": 0}), {})
        assert f", {text} tokens," in lines[0]

    def test_closing_says_nothing(self, shown, lines):
        shown.close()
        assert lines == []


class Terminal:
    """A pseudo-terminal and what a person would see on it."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.set_blocking(self._master, False)
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self.modes = termios.tcgetattr(slave)
        self._received = b""

    def lines(self) -> list[str]:
        """Return the lines on the screen; the last one is where the cursor is."""
        self.stream.flush()
        self._received += self._waiting()
        text = self._received.decode()
        assert "\x1b" not in text, "nothing here understands escape sequences"
        screen, column = [""], 0
        for character in text:
            if character == "\n":
                screen.append("")
            elif character == "\r":
                column = 0
            else:
                assert column < self.columns, f"wrapped: {screen[-1]!r}"
                line = screen[-1].ljust(column)
                screen[-1] = line[:column] + character + line[column + 1 :]
                column += 1
        return [line.rstrip() for line in screen]

    def _waiting(self) -> bytes:
        received = b""
        try:
            while chunk := os.read(self._master, 65536):
                received += chunk
        except BlockingIOError:
            pass
        return received

    def close(self) -> None:
        self.stream.close()
        os.close(self._master)


def plain(line: str) -> None:
    raise AssertionError(f"{line!r} went past the bar")


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Iterator[Terminal]:
    made = Terminal(getattr(request, "param", 200))
    yield made
    made.close()


class TestBar:
    @pytest.fixture
    def shown(self, terminal: Terminal, clock: Clock) -> Iterator[StatusDisplay]:
        made = StatusDisplay(plain, terminal.stream)
        yield made
        made.close()

    def test_shows_tools_episodes_calls_tokens_cost_failures_and_eta(self, shown, terminal, clock):
        shown.show(status(), {})
        clock.seconds += 10
        limits = {"m": {"requests_per_minute": 600.0, "tokens_per_minute": None, "refused": 2}}
        shown.show(status({"model": 180}, tools_done=2, episodes_stored=30), limits)
        [line] = terminal.lines()
        for figure in (
            "explore 2/4 tools",
            " 50%|",
            "30/60 episodes",
            "0:00:20",
            "180 replies (6.0/s)",
            "60 tool calls",
            "12.3k tokens",
            "$1.23",
            "3 failed calls",
            "limit 600 rpm",
            "2 refused",
        ):
            assert figure in line

    def test_the_eta_stands_behind_the_time_that_passed(self, shown, terminal, clock):
        shown.show(status(), {})
        clock.seconds += 10
        shown.show(status(episodes_stored=30), {})
        assert re.search(r"\[\d\d:\d\d<0:00:20, ", terminal.lines()[-1])

    def test_what_is_said_stands_above_the_bar(self, shown, terminal):
        shown.show(status(), {})
        shown.say("an explorer was lost")
        shown.say("the endpoint pauses")
        shown.show(status(episodes_stored=30), {})
        *above, bar = terminal.lines()
        assert above == ["an explorer was lost", "the endpoint pauses"]
        assert "30/60 episodes" in bar

    def test_before_the_first_bar_and_behind_the_last_lines_are_said_plainly(self, terminal, clock):
        lines: list[str] = []
        shown = StatusDisplay(lines.append, terminal.stream)
        shown.say("before")
        shown.show(status(), {})
        shown.close()
        shown.say("behind")
        assert lines == ["before", "behind"]

    def test_leaves_the_last_bar_and_a_clean_terminal(self, shown, terminal):
        shown.show(status(), {})
        shown.show(status(tools_done=4, episodes_stored=60), {}, final=True)
        shown.close()
        shown.close()  # a second time does nothing
        bar, rest = terminal.lines()
        assert bar.startswith("explore 4/4 tools 100%|")
        assert bar.endswith("]")
        assert "60/60 episodes" in bar
        assert rest == ""
        assert termios.tcgetattr(terminal.stream.fileno()) == terminal.modes
        terminal.stream.write("$ next command")
        assert terminal.lines() == [bar, "$ next command"]

    @pytest.mark.parametrize("terminal", [80, 100, 120], indirect=True)
    def test_never_wraps_in_a_narrow_terminal(self, shown, terminal):
        shown.show(status(), {})
        shown.say("said")
        shown.show(status(episodes_stored=30), {})
        shown.close()
        said, bar, _ = terminal.lines()
        assert said == "said"
        assert bar.startswith("explore 1/4 tools  50%|")

    @pytest.mark.parametrize("terminal", [80], indirect=True)
    def test_eighty_columns_have_room_for_the_cost_and_the_eta(self, shown, terminal, clock):
        shown.show(status(), {})
        clock.seconds += 10
        shown.show(status(episodes_stored=30), {})
        bar = terminal.lines()[-1]
        assert "$1.23" in bar
        assert "0:00:20" in bar

    def test_no_bar_where_none_is_wanted(self, terminal, clock):
        lines: list[str] = []
        shown = StatusDisplay(lines.append, terminal.stream, live=False)
        shown.show(status(), {})
        shown.close()
        assert len(lines) == 1
        assert terminal.lines() == [""]

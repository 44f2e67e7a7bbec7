"""Figures of a benchmark as a Markdown table; with STRICT=1 a missed goal is an error."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Row:
    """One figure: what was measured, and the goal it must meet; None: shown for comparison."""

    figure: str
    measured: str
    goal: str = ""
    met: bool | None = None


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Print one table."""
    print(f"\n**{title}**\n\n| figure | measured | goal | met |\n| --- | --- | --- | --- |")
    for row in rows:
        met = "" if row.met is None else ("yes" if row.met else "**no**")
        print(f"| {row.figure} | {row.measured} | {row.goal} | {met} |", flush=True)


def print_machine(*packages: str) -> None:
    """Print what the figures were measured on."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(
        f"\n{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, "
        f"{versions}, {datetime.date.today().isoformat()}"
    )


def exit_code(rows: Sequence[Row]) -> int:
    """Return 1 where a goal is missed and STRICT=1 asks to say so."""
    missed = any(row.met is False for row in rows)
    return int(missed and os.environ.get("STRICT") == "1")

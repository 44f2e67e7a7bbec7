"""Figures of a benchmark as a Markdown table; with STRICT=1 a missed goal is an error."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path


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


def run_parts(doc: str, parts: Mapping[str, tuple[str, str]], *packages: str) -> int:
    """Measure the parts named on the command line, or all; print their tables.

    Args:
        doc: what the benchmark is about; its first line is shown as help.
        parts: title and module of each part; the module's ``measure`` is given a folder that does
            not exist yet, and is imported when it is asked for.
        packages: whose versions are told.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="default: all")
    wanted = parser.parse_args().parts or list(parts)
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ.pop("RAY_ADDRESS", None)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ste-bench-") as folder:
        for part in wanted:
            title, module = parts[part]
            measure: Callable[[Path], list[Row]] = import_module(module).measure
            found = measure(Path(folder) / part)
            if found:
                print_rows(title, found)
            rows += found
    print_machine(*packages)
    return exit_code(rows)

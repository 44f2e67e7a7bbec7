"""How fast and how frugal exploration is: ``make bench-explore``, or one part of it by name.

Every figure is a ratio within one run, against a scripted teacher that counts what it serves.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import explore_cost
import explore_plan
import explore_rates
import explore_scale
import explore_wall
from harness import local_ray
from tables import Row, exit_code, print_machine, print_rows

PARTS: dict[str, tuple[str, Callable[[Path], list[Row]]]] = {
    "wall": ("50 tools side by side", explore_wall.measure),
    "rates": ("Rate limits, strict server, 4 explorers", explore_rates.measure),
    "cost": ("Cost of a call, CPU of the calling process", explore_cost.measure),
    "plan": ("Adaptive plan beside fixed, all built-in tools", explore_plan.measure),
    "scale": ("10,000 tools beside 1,000", explore_scale.measure),
}


def main() -> int:
    """Measure the parts that were asked for and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parts = parser.parse_args().parts or list(PARTS)
    rows = []
    with tempfile.TemporaryDirectory(prefix="ste-bench-") as folder, local_ray():
        for part in parts:
            title, measure = PARTS[part]
            found = measure(Path(folder) / part)
            print_rows(title, found)
            rows += found
    print_machine("ray", "aiohttp", "openai")
    return exit_code(rows)


if __name__ == "__main__":
    sys.exit(main())

"""How fast and how frugal prepare is: ``make bench-prepare``, or one part of it by name."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import prepare_rates
import prepare_scale
from tables import Row, exit_code, print_machine, print_rows

PARTS: dict[str, tuple[str, Callable[[Path], list[Row]]]] = {
    "rates": ("Filter and six paraphrases, strict server, 50 ms", prepare_rates.measure),
    "scale": ("Without models", prepare_scale.measure),
}


def main() -> int:
    """Measure the parts that were asked for and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parts = parser.parse_args().parts or list(PARTS)
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ.pop("RAY_ADDRESS", None)
    rows = []
    with tempfile.TemporaryDirectory(prefix="ste-bench-") as folder:
        for part in parts:
            title, measure = PARTS[part]
            found = measure(Path(folder) / part)
            print_rows(title, found)
            rows += found
    print_machine("ray", "pyarrow", "pandas", "pydantic", "rensa")
    return exit_code(rows)


if __name__ == "__main__":
    sys.exit(main())

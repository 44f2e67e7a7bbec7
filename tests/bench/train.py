"""How fast and how frugal training is: ``make bench-train``, or one part of it by name."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from tables import Row, exit_code, print_machine, print_rows

# Each part imports what it measures when it is asked for.
PARTS: dict[str, tuple[str, str]] = {
    "speed": ("One process, one thread, fp32", "train_speed"),
    "ranks": ("Two FSDP2 processes", "train_ranks"),
    "scale": ("Tokenising and batching by Ray Data", "train_scale"),
    "gpu": ("Full fine-tuning in bf16 on a GPU", "train_gpu"),
}


def main() -> int:
    """Measure the parts that were asked for and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parts = parser.parse_args().parts or list(PARTS)
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ.pop("RAY_ADDRESS", None)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ste-bench-") as folder:
        for part in parts:
            title, module = PARTS[part]
            measure: Callable[[Path], list[Row]] = import_module(module).measure
            found = measure(Path(folder) / part)
            if found:
                print_rows(title, found)
            rows += found
    print_machine("ray", "torch", "transformers")
    return exit_code(rows)


if __name__ == "__main__":
    sys.exit(main())

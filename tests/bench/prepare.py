"""How fast and how frugal prepare is: ``make bench-prepare``, or one part of it by name."""

from __future__ import annotations

import sys

from tables import run_parts

PARTS = {
    "rates": ("Filter and six paraphrases, strict server, 50 ms", "prepare_rates"),
    "scale": ("Without models", "prepare_scale"),
}


if __name__ == "__main__":
    sys.exit(run_parts(__doc__, PARTS, "ray", "pyarrow", "pandas", "pydantic", "rensa"))

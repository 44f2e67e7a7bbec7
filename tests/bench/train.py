"""How fast and how frugal training is: ``make bench-train``, or one part of it by name."""

from __future__ import annotations

import sys

from tables import run_parts

PARTS = {
    "speed": ("One process, one thread, fp32", "train_speed"),
    "shared": ("Rows that begin alike, one thread, fp32", "train_shared"),
    "ranks": ("Two FSDP2 processes", "train_ranks"),
    "scale": ("Tokenising and batching by Ray Data", "train_scale"),
    "gpu": ("Full fine-tuning in bf16 on a GPU", "train_gpu"),
}


if __name__ == "__main__":
    sys.exit(run_parts(__doc__, PARTS, "ray", "torch", "transformers"))

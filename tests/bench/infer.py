"""How fast inference, scoring, retrieval and the report are: ``make bench-infer``, or a part."""

from __future__ import annotations

import sys

from tables import run_parts

PARTS = {
    "decoding": ("Decoding with the tiny model, one thread, greedy", "infer_decoding"),
    "scoring": ("Scoring predictions, one core", "infer_scoring"),
    "retrieval": ("Retrieving 8 demonstrations, embeddings given", "infer_retrieval"),
    "report": ("The report of 100,000 predictions", "infer_report"),
}


if __name__ == "__main__":
    sys.exit(run_parts(__doc__, PARTS, "torch", "transformers", "numpy", "llguidance"))

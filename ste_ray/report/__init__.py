"""The self-contained HTML report of a run, and the same tables for a terminal."""

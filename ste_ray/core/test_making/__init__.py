"""Tests of other kinds than explicit ones: written, executed, and judged a second time."""

"""The kinds of test requests: how much of the right call a request says, and whether there is one.

A test of another kind than ``explicit`` counts in no figure but those of its kind.
"""

from __future__ import annotations

from typing import Literal, get_args

TestKind = Literal[
    "explicit",  # the call is said in full, or, without a tool, it is a general request
    "natural",  # as people talk: values in other forms, several sentences, typing errors
    "indirect",  # the need, not the operation
    "missing_argument",  # a required value is not there: the right answer asks for it
    "no_tool",  # near to what a tool does, but no tool fits
    "confusable",  # only one of two tools that are easily taken for each other fits
]
TEST_KINDS: tuple[TestKind, ...] = get_args(TestKind)
CALL_KINDS: tuple[TestKind, ...] = ("explicit", "natural", "indirect", "confusable")

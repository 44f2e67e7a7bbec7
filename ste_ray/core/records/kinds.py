"""The kinds of training rows, and those of test requests.

What a test request's kind says: how much of the right call it tells, and whether there is one. A
test of another kind than ``explicit`` counts in no figure but those of its kind.
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
    "recovery",  # a first call failed, and what came back is shown: the right call mends it
]
TEST_KINDS: tuple[TestKind, ...] = get_args(TestKind)
CALL_KINDS: tuple[TestKind, ...] = (
    "explicit", "natural", "indirect", "confusable", "recovery",
)  # fmt: skip

RowKind = Literal[
    "tool_call",
    "final_answer",  # after what the call returned
    "mended_call",  # after calls that failed, and what came back
    "mended_answer",  # after these and what the mended call returned
    "general",
    "no_call",
]
# Those that are of a tool that the model has.
TOOL_ROWS: tuple[RowKind, ...] = ("tool_call", "final_answer", "mended_call", "mended_answer")

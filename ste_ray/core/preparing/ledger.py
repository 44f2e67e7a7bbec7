"""Totals of the ledger: what became of a tool's queries, and whether enough was left."""

from __future__ import annotations

from ste_ray.core.records import Record

FEW_TRAIN_EXAMPLES = 20  # below this, a tool's figures say little about the method
FEW_TEST_EXAMPLES = 5

#: What the note of a run says whose tools have too little; the report has more on it.
FEW_EXAMPLES_NOTE = "tools have few examples"


class ToolTotals(Record):
    """Queries and examples of one tool."""

    tool: str
    explored: int = 0  # queries that the explorer imagined
    paraphrased: int = 0  # wordings that the paraphraser wrote
    kept: int = 0  # of both
    dropped: int = 0
    train: int = 0
    validation: int = 0
    test: int = 0
    corrections: int = 0  # examples of training and validation that are trained as mended too
    warning: str = ""  # what there is too little of; see ``few_examples``


def few_examples(train: int, test: int, tested: bool) -> str:
    """Return what a tool has too few examples for; empty if there are enough.

    Args:
        train: number of its training examples.
        test: number of its test examples.
        tested: whether there is a test split at all.
    """
    problems = []
    if train < FEW_TRAIN_EXAMPLES:
        problems.append(f"{train} to train on")
    if tested and test < FEW_TEST_EXAMPLES:
        problems.append(f"{test} to test on")
    return "few examples: " + ", ".join(problems) if problems else ""


class DropReason(Record):
    """How many queries were dropped at one step for one reason."""

    step: str
    reason: str
    explored: int = 0
    paraphrased: int = 0


class LedgerTotals(Record):
    """The ledger in figures: ``prepare/totals.json``."""

    tools: tuple[ToolTotals, ...]  # by name
    reasons: tuple[DropReason, ...]  # the most frequent first

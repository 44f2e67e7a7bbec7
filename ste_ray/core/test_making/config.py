"""The section ``prepare.tests``."""

from __future__ import annotations

from ste_ray.core.records import TestKind
from ste_ray.core.section import Section, key


class TestsConfig(Section):
    """Tests of other kinds than explicit ones, made of requests that no training sees."""

    __test__ = False  # no test, whatever pytest takes its name for

    natural: int = key(
        0,
        "Tests a tool whose request is worded as people talk: values in other forms, several "
        "sentences, typing errors.",
        unless_empty=True,
        ge=0,
    )
    indirect: int = key(
        0,
        "Tests a tool whose request tells the need, not the operation.",
        unless_empty=True,
        ge=0,
    )
    missing_argument: int = key(
        0,
        "Tests a tool whose request lacks a required value, so that the right answer asks for it.",
        unless_empty=True,
        ge=0,
    )
    no_tool: int = key(
        0, "Near misses a tool, requests that no tool fits.", unless_empty=True, ge=0
    )
    confusable: int = key(
        0,
        "Tests a tool that it fits and the tool most easily taken for it does not.",
        unless_empty=True,
        ge=0,
    )
    recovery: int = key(
        0,
        "Tests a tool that show a request with a call that failed in its trial and what came back, "
        "so that the right answer mends it; they ask no model.",
        unless_empty=True,
        ge=0,
    )
    confused_in: str = key(
        "",
        "An evaluated run whose confused tools are paired first; empty: pairs are those whose "
        "descriptions are alike, and those that the explorer took for each other.",
        unless_empty=True,
    )

    @property
    def numbers(self) -> dict[TestKind, int]:
        """How many tests a tool are wanted, by kind; none that is not."""
        wanted: dict[TestKind, int] = {
            "natural": self.natural,
            "indirect": self.indirect,
            "missing_argument": self.missing_argument,
            "no_tool": self.no_tool,
            "confusable": self.confusable,
            "recovery": self.recovery,
        }
        return {kind: number for kind, number in wanted.items() if number}

    @property
    def written(self) -> dict[TestKind, int]:
        """Those of them that models write and judge."""
        return {kind: number for kind, number in self.numbers.items() if kind != "recovery"}

    def __bool__(self) -> bool:
        return bool(self.numbers)

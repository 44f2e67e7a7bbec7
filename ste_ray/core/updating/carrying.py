"""Which examples, rows and tests of the run before an update takes over.

What was made of a tool that needs nothing is taken over as it is. A request for a tool that was
removed asks for one that is not there: its tests are such tests from now on, and its other examples
teach to say so. If the tool comes back, they are left out again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ste_ray.core.preparing.selecting import normalise
from ste_ray.core.records import Example, text_fingerprint
from ste_ray.core.updating.groups import ToolGroups

_ABSENT = "absent tool"


@dataclass(frozen=True)
class Carried:
    """Says of each record of the run before whether it is taken over."""

    kept: frozenset[str]
    known: frozenset[str]
    came_back: frozenset[str]  # groups of tests that ask for a tool that there is now

    @classmethod
    def of(cls, groups: ToolGroups) -> Carried:
        """Return what an update with these tools takes over."""
        back = frozenset(absent_group(tool) for tool in groups.explored)
        return cls(frozenset(groups.kept), groups.known, back)

    def example(self, tool: str, near_tool: str, origin: str, group_id: str) -> bool:
        """Whether an example stays: of a tool that does, near to none that is gone."""
        if tool:
            return tool in self.kept and (not near_tool or near_tool in self.known)
        if origin == "generated":  # with the tool that it is near to
            return not near_tool or near_tool in self.kept
        return group_id not in self.came_back and (not near_tool or near_tool in self.known)

    def row(self, tool: str, kind: str) -> bool:
        """Whether a training row stays."""
        if kind == "general":
            return True
        # A row without a call that names a tool says that there is none of that name.
        return tool not in self.known - self.kept if kind == "no_call" else tool in self.kept

    def made_test(self, about: str, near_tool: str) -> bool:
        """Whether what became of a test that was made stays on record."""
        return about in self.kept and (not near_tool or near_tool in self.known)


def absent_group(tool: str) -> str:
    """Return the group of the tests that ask for ``tool``, which is not there."""
    return text_fingerprint(_ABSENT, tool)


def is_absent_source(example: Example) -> bool:
    """Whether the request of an example can ask for its tool when that is gone.

    Paraphrases would say the same many times, and requests of other kinds say less.
    """
    return example.needs_call and example.origin == "explored" and example.kind == "explicit"


def unclaimed(sources: Iterable[Example], queries: Iterable[str]) -> list[Example]:
    """Return the requests of removed tools that are none of a tool that there is.

    Args:
        sources: requests of removed tools.
        queries: of the tools that there are, of all splits.
    """
    claimed = {normalise(query) for query in queries}
    return [one for one in sources if normalise(one.query) not in claimed]


def absent_test(example: Example, near_tool: str) -> Example:
    """Return the test of a tool as a test that asks for one that is not there.

    Args:
        example: of the test split.
        near_tool: the tool that is there and is most like the one that is gone; empty: none is.
    """
    return Example(
        example_id=text_fingerprint(_ABSENT, example.tool, example.query),
        group_id=absent_group(example.tool),
        trial_id="",
        tool="",
        query=example.query,
        origin="explored",
        arguments_json="",
        observation="",
        final_answer="",
        split="test",
        kind="no_tool",
        near_tool=near_tool,
    )

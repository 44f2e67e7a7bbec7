"""A change of a tool, and all changes of a set of tools."""

from __future__ import annotations

from typing import Any, Literal, get_args

from ste_ray.core.records import Record

Group = Literal["retrain", "prompts", "nothing"]
GROUPS: tuple[Group, ...] = get_args(Group)
Kind = Literal[
    "tool renamed",
    "tool added",
    "tool removed",
    "parameter added",
    "parameter removed",
    "type",
    "enum",
    "default",
    "required",
    "bounds",
    "format",
    "rule",
    "description",
    "note",
    "output schema",
    "effect",
    "executor",
]


class Change(Record):
    """One change of a tool.

    Attributes:
        tool: its name, the later one where it was renamed.
        group: what a trained model needs for it.
        kind: what changed.
        parameter: which one, as ``filter.dates[]``; empty: the tool as a whole.
        path: the place in the schema: keywords and names with dots.
        detail: the change in words.
        breaks: whether calls that were right before may be refused now, or do something else.
        before: the old value, where there is one that tells something.
        after: the new one.
        sureness: of a renaming, from 0 to 1; else None.
    """

    tool: str
    group: Group
    kind: Kind
    parameter: str = ""
    path: str = ""
    detail: str
    breaks: bool = False
    before: Any = None
    after: Any = None
    sureness: float | None = None


class ToolChanges(Record):
    """All changes between two sets of tools.

    Attributes:
        num_old: tools before.
        num_new: tools now.
        num_same: tools of which nothing changed.
        changes: by group, and by tool within it.
    """

    num_old: int
    num_new: int
    num_same: int
    changes: tuple[Change, ...]

    @property
    def retraining_is_due(self) -> bool:
        """Whether anything changed that a trained model does not know."""
        return any(one.group == "retrain" for one in self.changes)

    def of_group(self, group: Group) -> list[Change]:
        """Return the changes of one group."""
        return [one for one in self.changes if one.group == group]

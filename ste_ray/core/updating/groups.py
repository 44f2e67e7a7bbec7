"""What an update does with each tool, by what changed in it, and the plan of an update."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from ste_ray.core.records import Record
from ste_ray.core.tool_changes.tools import compare_tools
from ste_ray.core.tool_specs import ToolSpec


class ToolGroups(Record):
    """The tools of two runs, by what the later one does with them.

    Attributes:
        kept: a trained model needs nothing for them; all that was made of them is taken over.
        changed: explored anew.
        added: explored for the first time.
        renamed: name now -> name before: explored anew, and the toolken before is retired.
        removed: their toolkens are retired, and their requests ask for a tool that is not there.
        parameters: name now -> which parameters of it changed, each by its first name (``filter``
            of ``filter.dates[]``); an empty name is the arguments as a whole.
    """

    kept: tuple[str, ...]
    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    renamed: dict[str, str] = Field(default_factory=dict)
    removed: tuple[str, ...] = ()
    parameters: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @property
    def explored(self) -> tuple[str, ...]:
        """Those that are explored, by the names that they have now."""
        return tuple(sorted((*self.changed, *self.added, *self.renamed)))

    @property
    def known(self) -> frozenset[str]:
        """All tools that there are now."""
        return frozenset((*self.kept, *self.explored))

    @property
    def retired(self) -> tuple[str, ...]:
        """Names before of those whose toolkens go out of use."""
        return tuple(sorted((*self.removed, *self.renamed.values())))

    @property
    def is_due(self) -> bool:
        """Whether there is anything to update."""
        return bool(self.explored or self.retired)

    def before(self, tool: str) -> str:
        """Return the name that an explored tool had before; empty: it was not there."""
        return "" if tool in self.added else self.renamed.get(tool, tool)

    def as_counts(self) -> dict[str, int]:
        """Return how many tools there are of each kind."""
        names = ("kept", "changed", "added", "renamed", "removed")
        return {name: len(getattr(self, name)) for name in names}


class UpdatePlan(Record):
    """What an update goes on from, and what it does: the content of ``update/update.json``.

    Attributes:
        source: the run before.
        stages: fingerprint of what each of its stages made, by name.
        tools: what is done with each tool.
        base: ``train.model.base`` of the first training in the line of updates; empty: it was
            built.
    """

    source: str
    stages: dict[str, str]
    tools: ToolGroups
    base: str


def group_tools(old: Mapping[str, ToolSpec], new: Mapping[str, ToolSpec]) -> ToolGroups:
    """Return what an update from the tools of one run to others does with each.

    Args:
        old: the tools before, by name.
        new: the tools now, by name.
    """
    changes = compare_tools(old, new).of_group("retrain")
    renamed = {one.tool: str(one.before) for one in changes if one.kind == "tool renamed"}
    added = {one.tool for one in changes if one.kind == "tool added"}
    removed = {one.tool for one in changes if one.kind == "tool removed"}
    others = [one for one in changes if not one.kind.startswith("tool ")]
    changed = {one.tool for one in others} - renamed.keys()
    parameters: dict[str, set[str]] = {}
    for one in others:
        parameters.setdefault(one.tool, set()).add(_first_name(one.parameter))
    return ToolGroups(
        kept=tuple(sorted(new.keys() - changed - added - renamed.keys())),
        changed=tuple(sorted(changed)),
        added=tuple(sorted(added)),
        renamed=dict(sorted(renamed.items())),
        removed=tuple(sorted(removed)),
        parameters={tool: tuple(sorted(names)) for tool, names in sorted(parameters.items())},
    )


def _first_name(parameter: str) -> str:
    return parameter.partition(".")[0].partition("[")[0]

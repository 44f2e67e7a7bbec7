"""Which tools a tool may be taken for: those that were confused, then those that are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ste_ray.core import layout
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError
from ste_ray.retrieval.likest import likest_tools
from ste_ray.store.artifacts import open_store

# The judge sees so many tools, the right one included.
NUM_OFFERED = 8
# From this similarity of name and description on, two tools are easily taken for each other.
CONFUSABLE = 0.25


def confused_tools(uri: str) -> dict[str, list[str]]:
    """Return which tools an evaluated run called where another was right, most often first.

    Raises:
        ConfigError: it is not evaluated.
    """
    store = open_store(uri)
    if not store.exists(layout.EVALUATION_SUMMARY):
        raise ConfigError(
            f"prepare.tests.confused_in={uri!r} is no evaluated run; give one, or leave it out"
        )
    summary = EvaluationSummary.model_validate(store.read_json(layout.EVALUATION_SUMMARY))
    counts: dict[str, dict[str, int]] = {}
    for one in summary.settings:
        for cell in one.confusion:
            if cell.kind == "tool" and cell.predicted != cell.tool:
                found = counts.setdefault(cell.tool, {})
                found[cell.predicted] = found.get(cell.predicted, 0) + cell.count
    return {
        tool: sorted(found, key=lambda name: (-found[name], name))
        for tool, found in sorted(counts.items())
    }


@dataclass(frozen=True)
class Neighbourhood:
    """Which tools a tool may be taken for.

    Attributes:
        likest: tool -> the likest others with their similarity, the likest first.
        confused: tool -> tools that a model called in its place, most often first.
    """

    likest: Mapping[str, Sequence[tuple[str, float]]]
    confused: Mapping[str, Sequence[str]]

    @classmethod
    def of(
        cls, specs: Mapping[str, ToolSpec], confused: Mapping[str, Sequence[str]]
    ) -> Neighbourhood:
        """Compare all tools of a run."""
        return cls(likest_tools(list(specs.values()), NUM_OFFERED - 1), confused)

    def near(self, tool: str, mistaken: Sequence[str]) -> str:
        """Return the tool most easily taken for ``tool``; empty: there is none.

        Args:
            tool: the right one.
            mistaken: tools that the explorer called in its place, most often first.
        """
        for name in (*self.confused.get(tool, ()), *mistaken):
            if name in self.likest and name != tool:
                return name
        for name, similarity in self.likest[tool][:1]:
            if similarity >= CONFUSABLE:
                return name
        return ""

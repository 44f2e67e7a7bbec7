"""Which tools may be taken for each other, and which a request is likely to be offered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ste_ray.core import layout
from ste_ray.core.scoring.evaluation import EvaluationSummary
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError
from ste_ray.retrieval.config import RetrieveConfig
from ste_ray.retrieval.encoder import HASHED_NGRAMS, make_encoder
from ste_ray.retrieval.index import ToolIndex
from ste_ray.retrieval.likest import likest_tools
from ste_ray.store.artifacts import open_store

# The judge sees so many tools that are like each other, the right one included.
NUM_ALIKE = 8
# And as many as a request that is answered with candidates is offered, unless told otherwise.
NUM_RETRIEVED = RetrieveConfig().num_tools
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
    """Which tools may be taken for each other, and which are near to a request.

    Attributes:
        likest: tool -> the likest others with their similarity, the likest first.
        confused: tool -> tools that a model called in its place, most often first.
        retrieved: returns the tools that ``retrieve`` finds for a request, by its default encoder.
    """

    likest: Mapping[str, Sequence[tuple[str, float]]]
    confused: Mapping[str, Sequence[str]]
    retrieved: Callable[[str], Sequence[str]]

    @classmethod
    def of(
        cls, specs: Mapping[str, ToolSpec], confused: Mapping[str, Sequence[str]]
    ) -> Neighbourhood:
        """Compare all tools of a run."""
        tools = list(specs.values())
        index = ToolIndex(make_encoder(HASHED_NGRAMS), tools)

        def retrieved(request: str) -> list[str]:
            (found,) = index.nearest([request], NUM_RETRIEVED)
            return [one.key for one in found]

        return cls(likest_tools(tools, NUM_ALIKE - 1), confused, retrieved)

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

"""Which tools may be taken for each other, and which a request is likely to be offered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ste_ray.core.tool_specs import ToolSpec
from ste_ray.retrieval.config import RetrieveConfig
from ste_ray.retrieval.encoder import HASHED_NGRAMS, make_encoder
from ste_ray.retrieval.index import ToolIndex
from ste_ray.retrieval.likest import likest_tools

# The judge sees so many tools that are like each other, the right one included.
NUM_ALIKE = 8
# And as many as a request that is answered with candidates is offered, unless told otherwise.
NUM_RETRIEVED = RetrieveConfig().num_tools
# From this similarity of name and description on, two tools are easily taken for each other.
CONFUSABLE = 0.25


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

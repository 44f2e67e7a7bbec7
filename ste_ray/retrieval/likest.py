"""Which tools are like each other, by name and description."""

from __future__ import annotations

from collections.abc import Sequence

from ste_ray.core.tool_specs import ToolSpec
from ste_ray.retrieval.encoder import HashedNgramEncoder
from ste_ray.retrieval.search import Corpus


def likest_tools(tools: Sequence[ToolSpec], number: int) -> dict[str, list[tuple[str, float]]]:
    """Return for each tool the ``number`` likest others with their similarity, the likest first."""
    ordered = sorted(tools, key=lambda tool: tool.name)
    texts = [f"{tool.name} {tool.description}" for tool in ordered]
    vectors = HashedNgramEncoder().fit(texts).encode(texts)
    found = Corpus(vectors, search="exact").nearest(vectors, number + 1)
    return {
        tool.name: [
            (ordered[hit.index].name, hit.score) for hit in hits if ordered[hit.index] is not tool
        ][:number]
        for tool, hits in zip(ordered, found, strict=True)
    }

"""What is retrieved for a query: candidate tools by description, demonstrations by query."""

from __future__ import annotations

from collections.abc import Sequence

from ste_ray.core.records import Example, Neighbor, Retrieved, ToolSpec
from ste_ray.retrieval.encoder import SentenceEncoder, Vectors
from ste_ray.retrieval.search import Hit, top_k


class RetrievalIndex:
    """The embedded tools and training queries; it can be pickled and shared between processes.

    Args:
        encoder: Fitted apart to the descriptions and to the queries.
        tools: The tools to choose candidates from.
        training: The examples to choose demonstrations from; may be empty.
    """

    def __init__(
        self, encoder: SentenceEncoder, tools: Sequence[ToolSpec], training: Sequence[Example]
    ) -> None:
        descriptions = [f"{tool.name} {tool.description}" for tool in tools]
        queries = [example.query for example in training]
        self._tool_names = [tool.name for tool in tools]
        self._example_ids = [example.example_id for example in training]
        self._groups = [example.group_id for example in training]
        self._tool_encoder = encoder.fit(descriptions)
        self._query_encoder = encoder.fit(queries)
        self._tools: Vectors = self._tool_encoder.encode(descriptions)
        self._queries: Vectors = self._query_encoder.encode(queries)

    def retrieve(
        self, examples: Sequence[Example], num_tools: int, num_demonstrations: int
    ) -> list[Retrieved]:
        """Return candidate tools and demonstrations of each example's query, best first.

        Only the query is looked at, never the gold call. No demonstration comes from the group of
        the query.
        """
        texts = [example.query for example in examples]
        tools = top_k(self._tool_encoder.encode(texts), self._tools, num_tools)
        demonstrations = top_k(
            self._query_encoder.encode(texts),
            self._queries,
            num_demonstrations,
            query_groups=[example.group_id for example in examples],
            corpus_groups=self._groups,
        )
        return [
            Retrieved(
                example_id=example.example_id,
                tools=_neighbors(tool_hits, self._tool_names),
                demonstrations=_neighbors(query_hits, self._example_ids),
            )
            for example, tool_hits, query_hits in zip(examples, tools, demonstrations, strict=True)
        ]


def _neighbors(hits: Sequence[Hit], keys: Sequence[str]) -> tuple[Neighbor, ...]:
    return tuple(Neighbor(key=keys[hit.index], score=hit.score) for hit in hits)

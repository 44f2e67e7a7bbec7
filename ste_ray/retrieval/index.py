"""What is retrieved for a query: candidate tools by description, demonstrations by query."""

from __future__ import annotations

from collections.abc import Sequence

from ste_ray.core.preparing.mixing import draw_number
from ste_ray.core.records import Example, Neighbor, Retrieved
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.retrieval.config import RetrieveConfig
from ste_ray.retrieval.encoder import SentenceEncoder
from ste_ray.retrieval.search import Corpus, Hit, diverse

# Of these the chosen ones are taken, where the nearest alone will not do.
_WIDER = 8


class ToolIndex:
    """The embedded names and descriptions of tools; it can be pickled and shared.

    Args:
        encoder: fitted to them here.
        tools: in an order that decides between equal similarities.
    """

    def __init__(self, encoder: SentenceEncoder, tools: Sequence[ToolSpec]) -> None:
        texts = [f"{tool.name} {tool.description}" for tool in tools]
        self._names = [tool.name for tool in tools]
        self._encoder = encoder.fit(texts)
        self._corpus = Corpus(self._encoder.encode(texts), search="exact")

    def nearest(self, queries: Sequence[str], number: int) -> list[tuple[Neighbor, ...]]:
        """Return for each request the ``number`` nearest tools, the nearest first."""
        found = self._corpus.nearest(self._encoder.encode(queries), number)
        return [_neighbors(hits, self._names) for hits in found]


class RetrievalIndex:
    """The embedded tools and training queries; it can be pickled and shared between processes.

    Args:
        encoder: fitted apart to the descriptions and to the queries.
        tools: the tools to choose candidates from.
        training: the examples to choose demonstrations from; may be empty.
        config: how to choose.
        seed: decides at which place an oracle puts the right tool.
    """

    def __init__(
        self,
        encoder: SentenceEncoder,
        tools: Sequence[ToolSpec],
        training: Sequence[Example],
        config: RetrieveConfig,
        seed: int = 0,
    ) -> None:
        queries = [example.query for example in training]
        self._config = config
        self._seed = seed
        self._example_ids = [example.example_id for example in training]
        self._example_tools = [example.tool for example in training]
        self._tools = ToolIndex(encoder, tools)
        self._query_encoder = encoder.fit(queries)
        self._queries = Corpus(
            self._query_encoder.encode(queries),
            groups=[example.group_id for example in training],
        )

    def retrieve(self, examples: Sequence[Example]) -> list[Retrieved]:
        """Return candidate tools and demonstrations of each example's query, best first.

        Only the query is looked at; with ``candidates=oracle`` the right tool, if it is missing,
        takes the place of the last candidate, and all are put in an order that tells nothing. A
        query that needs no call keeps the nearest tools. No demonstration comes from the group of
        the query.
        """
        config = self._config
        texts = [example.query for example in examples]
        tools = self._tools.nearest(texts, config.num_tools)
        selective = bool(config.diversity or config.max_per_tool)
        demonstrations = self._queries.nearest(
            self._query_encoder.encode(texts),
            config.num_demonstrations * (_WIDER if selective else 1),
            [example.group_id for example in examples],
        )
        return [
            Retrieved(
                example_id=example.example_id,
                tools=self._candidates(example, found),
                demonstrations=_neighbors(self._chosen(query_hits), self._example_ids),
            )
            for example, found, query_hits in zip(examples, tools, demonstrations, strict=True)
        ]

    def _chosen(self, hits: Sequence[Hit]) -> list[Hit]:
        return diverse(
            hits,
            self._queries,
            self._example_tools,
            self._config.num_demonstrations,
            diversity=self._config.diversity,
            max_per_tool=self._config.max_per_tool,
        )

    def _candidates(self, example: Example, found: tuple[Neighbor, ...]) -> tuple[Neighbor, ...]:
        if self._config.candidates == "retrieved":
            return found
        if example.needs_call and all(neighbor.key != example.tool for neighbor in found):
            found = (*found[: self._config.num_tools - 1], Neighbor(key=example.tool, score=0.0))
        order = {one.key: draw_number(one.key, self._seed, example.example_id) for one in found}
        return tuple(sorted(found, key=lambda one: order[one.key]))


def _neighbors(hits: Sequence[Hit], keys: Sequence[str]) -> tuple[Neighbor, ...]:
    return tuple(Neighbor(key=keys[hit.index], score=hit.score) for hit in hits)

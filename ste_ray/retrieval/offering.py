"""The tools that rows offer: for each tool those most like it, for a request those nearest to it.

Tools are compared by name and description. Which of the nearest a row offers is drawn elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ste_ray.core.preparing.offering import POOL, AskedRow, draw_offer
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.retrieval.encoder import SentenceEncoder, Vectors
from ste_ray.retrieval.search import Corpus


class ToolOffers:
    """Chooses the tools of rows; it can be pickled and shared between processes.

    What is most like each tool is found once, at the beginning: its siblings (the tools of its
    family), nearest first and no more of them than a row has distractors, then the nearest of all.

    Args:
        encoder: what texts are compared by; it is fitted to the tools here.
        tools: those that may be offered, in any order.
        number: how many tools a row offers; 0: all.
        seed: of the draws.
    """

    def __init__(
        self, encoder: SentenceEncoder, tools: Sequence[ToolSpec], number: int, seed: int
    ) -> None:
        ordered = sorted(tools, key=lambda tool: tool.name)
        self._names = [tool.name for tool in ordered]
        self._number = min(number or len(ordered), len(ordered))
        self._seed = seed
        self._encoder: SentenceEncoder | None = None
        if self._number < len(ordered):  # else there is nothing to choose
            texts = [f"{tool.name} {tool.description}" for tool in ordered]
            self._encoder = encoder.fit(texts)
            vectors = self._encoder.encode(texts)
            self._corpus = Corpus(vectors, search="exact")
            self._places = {name: place for place, name in enumerate(self._names)}
            self._likest = self._ranked(vectors, [tool.family for tool in ordered])

    def of(self, rows: Sequence[AskedRow]) -> list[list[str]]:
        """Return the names of the tools that each row offers, in an order that tells nothing.

        Many rows at once are faster.

        Raises:
            KeyError: the right tool of a row is not among those that may be offered.
        """
        near = iter(self._near([row.query for row in rows if not row.right]))
        return [
            draw_offer(
                self.likest(row.right) if row.right else next(near), self._number, row, self._seed
            )
            for row in rows
        ]

    def likest(self, tool: str) -> list[str]:
        """Return the tools to draw distractors of ``tool`` from, the likest first.

        Raises:
            KeyError: it is not among those that may be offered.
        """
        if self._encoder is None:
            return self._names
        return [self._names[place] for place in self._likest[self._places[tool]]]

    def _near(self, queries: Sequence[str]) -> list[list[str]]:
        if self._encoder is None:
            return [self._names for _ in queries]
        # One more, because a tool that is not there may be among them.
        found = self._corpus.nearest(self._encoder.encode(queries), POOL * self._number + 1)
        return [[self._names[hit.index] for hit in hits] for hits in found]

    def _ranked(self, vectors: Vectors, families: Sequence[str]) -> list[list[int]]:
        """Return for each tool the places of those most like it, as many as are drawn from."""
        num_others = self._number - 1
        siblings = _siblings(vectors, families, num_others)
        found = self._corpus.nearest(vectors, POOL * num_others + 1)
        ranked = []
        for place, hits in enumerate(found):
            order = dict.fromkeys([*siblings.get(place, ()), *(hit.index for hit in hits)])
            order.pop(place, None)
            ranked.append(list(order)[: POOL * num_others])
        return ranked


def _siblings(vectors: Vectors, families: Sequence[str], most: int) -> dict[int, list[int]]:
    """Return tool -> the nearest tools of its family, by their places; no family: none."""
    members: defaultdict[str, list[int]] = defaultdict(list)
    for place, family in enumerate(families):
        if family:
            members[family].append(place)
    nearest: dict[int, list[int]] = {}
    for places in members.values():
        own = vectors[places]
        for place, hits in zip(
            places, Corpus(own, search="exact").nearest(own, most + 1), strict=True
        ):
            others = [places[hit.index] for hit in hits if places[hit.index] != place]
            nearest[place] = others[:most]
    return nearest

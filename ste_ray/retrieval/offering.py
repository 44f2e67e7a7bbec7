"""The tools that rows offer: lists of tools that are like each other, by name and description.

A row takes one of the lists with its right tool, the tool that is not there, or the one nearest to
a request that needs none. How lists are made of likenesses is decided elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ste_ray.core.preparing.mixing import draw_number
from ste_ray.core.preparing.offering import POOL, AskedRow, alike_lists, shuffled
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.retrieval.encoder import SentenceEncoder, Vectors
from ste_ray.retrieval.search import Corpus


class ToolOffers:
    """Chooses the tools of rows; it can be pickled and shared between processes.

    What is most like each tool is found once, at the beginning: its siblings (the tools of its
    family), nearest first and no more of them than a row has distractors, then the nearest of all.
    The lists are made of that, once too.

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
            self._lists = alike_lists(self._likest, self._number, seed)
            self._lists_of: list[list[int]] = [[] for _ in ordered]
            for place, members in enumerate(self._lists):
                for tool in members:
                    self._lists_of[tool].append(place)

    def of(self, rows: Sequence[AskedRow]) -> list[list[str]]:
        """Return the names of the tools that each row offers, in an order that tells nothing.

        Many rows at once are faster.

        Raises:
            KeyError: the right tool of a row is not among those that may be offered.
        """
        known = self._places if self._encoder is not None else ()
        homes = [row.right or (row.absent if row.absent in known else "") for row in rows]
        near = iter(self._nearest([row.query for row, home in zip(rows, homes, strict=True)
                                   if not home]))  # fmt: skip
        return [
            shuffled(self._around(home or next(near), row), row, self._seed)
            for row, home in zip(rows, homes, strict=True)
        ]

    def likest(self, tool: str) -> list[str]:
        """Return the tools to draw distractors of ``tool`` from, the likest first.

        Raises:
            KeyError: it is not among those that may be offered.
        """
        if self._encoder is None:
            return self._names
        return [self._names[place] for place in self._likest[self._places[tool]]]

    def _around(self, home: str, row: AskedRow) -> list[str]:
        """Return the tools of a row, in no order: one of the lists with ``home``.

        In the place of a tool that is not there stands another one that is most like it.
        """
        if self._encoder is None:
            return [name for name in self._names if name != row.absent]
        lists = self._lists_of[self._places[home]]
        drawn = draw_number(home, self._seed, f"{row.key} list") % len(lists)
        names = [self._names[tool] for tool in self._lists[lists[drawn]]]
        if not row.absent:
            return names
        others = (name for name in (*self.likest(home), *self._names) if name not in names)
        return [next(others) if name == row.absent else name for name in names]

    def _nearest(self, queries: Sequence[str]) -> list[str]:
        """Return for each request the tool nearest to it; where all are offered, any."""
        if self._encoder is None or not queries:
            return self._names[:1] * len(queries)
        found = self._corpus.nearest(self._encoder.encode(queries), 1)
        return [self._names[hits[0].index] for hits in found]

    def _ranked(self, vectors: Vectors, families: Sequence[str]) -> list[list[int]]:
        """Return for each tool the places of those most like it, as many as are drawn from."""
        num_others = self._number - 1
        siblings = _siblings(vectors, families, num_others)
        pool = POOL * max(1, num_others)  # at least what may take the place of another tool
        found = self._corpus.nearest(vectors, pool + 1)
        ranked = []
        for place, hits in enumerate(found):
            order = dict.fromkeys([*siblings.get(place, ()), *(hit.index for hit in hits)])
            order.pop(place, None)
            ranked.append(list(order)[:pool])
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

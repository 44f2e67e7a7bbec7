"""More and more tools in the prompt: which ones stand beside the right one.

With as many tools as the run has, or more, every prompt shows the same list in the same order: all
tools of the run among others of a catalogue. With fewer, each request is shown its right tool among
other tools of the run. A longer list holds the shorter ones, and a place tells nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from ste_ray.core.inferring.settings import Query, Setting
from ste_ray.core.inferring.variants import way_of
from ste_ray.core.preparing.mixing import draw_number
from ste_ray.errors import ConfigError

_TOOLS = "tools-"
_SHOWING_NONE = ("toolken", "dialog")  # what a dialog shows, its test data say


def swept(settings: Sequence[Setting], sizes: Collection[int]) -> Iterator[Setting]:
    """Yield the variants whose prompts show so many tools, of settings that show any.

    Prompts that differ in nothing but the choice of their tools would be the same here: of those
    the first setting is asked.
    """
    first: dict[tuple[str, bool, bool], Setting] = {}
    for setting in settings:
        if setting.prompt not in _SHOWING_NONE:
            alike = (setting.model, setting.is_native, setting.shows_demonstrations)
            first.setdefault(alike, setting)
    for setting in first.values():
        for size in sorted(set(sizes)):
            yield replace(setting, variant=f"{_TOOLS}{size}")


def num_tools_of(name: str) -> int | None:
    """Return how many tools the prompts of a variant show, by its name; None: it is no sweep's."""
    way = way_of(name)
    return int(way.removeprefix(_TOOLS)) if way.startswith(_TOOLS) else None


class ToolLists:
    """Chooses the tools that prompts show.

    Args:
        own: names of the run's tools.
        catalogue: names of further tools; those of the run among them are left out.
        seed: of the draws.
    """

    def __init__(self, own: Collection[str], catalogue: Collection[str], seed: int) -> None:
        self._own = sorted(own)
        self._others = self._drawn(set(catalogue) - set(own), "others", seed)
        self._order = self._drawn((*self._own, *self._others), "places", seed)
        self._seed = seed

    def check(self, sizes: Collection[int]) -> None:
        """Check that there are enough tools.

        Raises:
            ConfigError: there are fewer.
        """
        most = len(self._order)
        if max(sizes, default=0) > most:
            raise ConfigError(
                f"infer.sweep={sorted(sizes)} asks for {max(sizes)} tools, but the run has"
                f" {len(self._own)} and infer.catalogue {len(self._others)} others, {most} in all;"
                " give infer.catalogue further tool files, such as 'ste-ray tools import' writes,"
                " or smaller numbers"
            )

    def shown(self, query: Query, size: int) -> tuple[str, ...]:
        """Return the names of the tools that the prompt of a request shows, in their order."""
        if size >= len(self._own):
            chosen = {*self._own, *self._others[: size - len(self._own)]}
            return tuple(name for name in self._order if name in chosen)
        key, right = query.example.example_id, query.example.tool
        others = [name for name in self._drawn(self._own, f"beside {key}", self._seed)
                  if name != right]  # fmt: skip
        names = [*([right] if right else []), *others][:size]
        return tuple(self._drawn(names, f"places {key}", self._seed))

    @staticmethod
    def _drawn(names: Collection[str], label: str, seed: int) -> list[str]:
        return sorted(names, key=lambda name: (draw_number(name, seed, f"sweep {label}"), name))

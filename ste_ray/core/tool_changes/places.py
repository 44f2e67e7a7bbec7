"""Where a change of a schema stands: as a person reads it, and as a path."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A place in a tool's schema.

    Attributes:
        parameter: as ``filter.dates[]``; empty: the arguments as a whole.
        path: keywords and names with dots.
    """

    parameter: str = ""
    path: str = ""

    def property(self, name: str) -> Place:
        """Return the place of a property."""
        return Place(_dotted(self.parameter, name), self.keyword(f"properties.{name}"))

    def item(self, number: int | None = None) -> Place:
        """Return the place of an item; without a number, of any."""
        if number is None:
            return Place(f"{self.parameter}[]", self.keyword("items"))
        return Place(f"{self.parameter}[{number}]", self.keyword(f"prefixItems.{number}"))

    def within(self, keyword: str, name: str = "") -> Place:
        """Return the place of another schema, such as that of further properties."""
        shown = "*" if keyword == "additionalProperties" else name and f"/{name}/"
        path = self.keyword(f"{keyword}.{name}" if name else keyword)
        return Place(_dotted(self.parameter, shown) if shown else self.parameter, path)

    def keyword(self, keyword: str) -> str:
        """Return the path of a keyword here."""
        return _dotted(self.path, keyword)


def _dotted(before: str, name: str) -> str:
    return f"{before}.{name}" if before else name

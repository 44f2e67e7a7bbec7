"""Tables and texts as Markdown; what models and tools wrote is escaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_MEANINGFUL = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]<>#|~"})


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def first_rows(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    most: int,
    what: str,
    where: str,
    omitted: int = 0,
) -> Iterator[str]:
    """Yield a table with the first rows, and how many it leaves out, if any.

    Args:
        header: of the columns.
        rows: all there are, but for ``omitted`` ones; cells are Markdown already.
        most: how many to show.
        what: a row is of.
        where: more of them are shown.
        omitted: further rows, which are not there.
    """
    yield table(header, rows[:most])
    if more := max(0, len(rows) - most) + omitted:
        yield f"{more:,} more {what} are not shown here; {where} shows more of them."


def escaped(text: str) -> str:
    """Return a text on one line that Markdown shows as it is."""
    return " ".join(text.split()).translate(_MEANINGFUL).replace("&", "&amp;")

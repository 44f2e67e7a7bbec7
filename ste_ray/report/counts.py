"""What a stage counted, as text for a person: figures below each other, groups as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ste_ray.report.numbers import NOTHING
from ste_ray.report.terminal_tables import aligned

_INDENT = "  "


def counts_text(counts: Mapping[str, Any]) -> str:
    """Return counts as lines that end in a line break.

    A group of groups, such as the figures of each setting, is a table of its own with a row for
    each; a group of figures stands in one line.
    """
    lines = [
        (_words(name), _inline(value)) for name, value in counts.items() if not _is_table(value)
    ]
    width = max((len(name) for name, _ in lines), default=0)
    text = "".join(f"{_INDENT}{name:<{width}}  {value}\n" for name, value in lines)
    for name, value in counts.items():
        if _is_table(value):
            text += f"\n{_indented(_table(_words(name), value))}\n"
    return text


def _is_table(value: Any) -> bool:
    rows = _rows(value)
    return bool(rows) and all(isinstance(row, Mapping) for row in rows.values())


def _rows(value: Any) -> dict[str, Any]:
    """Return a mapping's items, or a list's by their number."""
    if isinstance(value, Mapping):
        return {str(name): row for name, row in value.items()}
    if isinstance(value, list | tuple):
        return {str(number): row for number, row in enumerate(value, start=1)}
    return {}


def _table(name: str, value: Any) -> str:
    rows = {key: _flat(row) for key, row in _rows(value).items()}
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    header = [_singular(name), *map(_words, columns)]
    return aligned(
        header,
        [[key, *(_inline(row.get(one)) for one in columns)] for key, row in rows.items()],
    )


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the figures of a group within it as figures of its own."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= {f"{name} {inner}": one for inner, one in value.items()}
        else:
            flat[name] = value
    return flat


def _inline(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(str(name))} {_inline(one)}" for name, one in value.items()) or (
            "none"
        )
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_inline, value)) or "none"
    return str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _singular(name: str) -> str:
    return name.removesuffix("s")


def _indented(text: str) -> str:
    return "\n".join(f"{_INDENT}{line}" for line in text.splitlines())

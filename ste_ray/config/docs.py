"""The page ``docs/configuration.md``, made of what the sections say of their keys.

``python -m ste_ray.config.docs FILE`` writes it; ``make docs`` does so for the one of this project.
"""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from ste_ray.config.root import Config, inner_section, sections
from ste_ray.core.section import Section

_INTRODUCTION = """\
# Configuration

<!-- Made by `make docs` of the sections in the code; a change belongs there. -->

A run is configured by one YAML file (`--config FILE.yaml`) and overrides behind it,
`section.key=value`, whose values are YAML too. Every key has a default, and an unknown key is an
error. A key that changes results is part of the fingerprint of the stages that read it: a run that
holds a stage made with another value is refused. The other keys say how a stage runs, and may
differ each time it is started. The configurations that ship stand in `jobs/`; secrets come from the
environment. `ste-ray config show` prints what a file and overrides amount to.
"""
_HEAD = (
    "| key | values | default | what it does | changes results |\n| --- | --- | --- | --- | --- |"
)
_EMPTY = '""'
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_WORDS = {str: "text", int: "whole number", float: "number", Any: "any value"}


def page() -> str:
    """Return the page, in Markdown."""
    parts = [_INTRODUCTION, _table("", Config)]
    for name, field in Config.model_fields.items():
        if (inner := inner_section(field)) is not None:
            parts += _section(name, inner)
    return "\n".join(f"{part.rstrip()}\n" for part in [*parts, _retired()])


def _section(path: str, section: type[Section]) -> Iterator[str]:
    """Yield the parts of a section: its description, its keys, and the sections below it."""
    level = "#" * (2 + path.count("."))
    yield f"{level} {path}\n\n{_prose(section)}"
    if any(inner_section(field) is None for field in section.model_fields.values()):
        yield _table(f"{path}.", section)
    alike: dict[type[Section], list[str]] = {}
    for name, field in section.model_fields.items():
        if (inner := inner_section(field)) is not None:
            alike.setdefault(inner, []).append(name)
        elif (named := _named_section(field)) is not None:
            yield f"{level}# {path}.{name}\n\n{_prose(named)}"
            yield _table(f"{path}.{name}.NAME.", named)
    for inner, names in alike.items():
        if len(names) == 1:
            yield from _section(f"{path}.{names[0]}", inner)
        else:
            yield f"{level}# {path}.ROLE\n\n{_prose(inner)}"
            yield "\n".join(
                f"- `{path}.{name}`: {section.model_fields[name].description}" for name in names
            )
            yield _table(f"{path}.ROLE.", inner)


def _table(before: str, section: type[Section]) -> str:
    fields = section.model_fields.items()
    rows = [_row(before + name, field) for name, field in fields if inner_section(field) is None]
    return "\n".join([_HEAD, *rows])


def _row(key: str, field: FieldInfo) -> str:
    default = "" if field.is_required() else f"`{_default(field.default)}`"
    operational = isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get(
        "operational"
    )
    cells = (f"`{key}`", _values(field), default, field.description or "")
    return f"| {' | '.join(cells)} | {'no' if operational else 'yes'} |"


def _default(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _values(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(mark, name):g}"
        for mark in field.metadata
        for name, sign in _BOUNDS.items()
        if getattr(mark, name, None) is not None
    ]
    return ", ".join([_kind(field.annotation), *bounds])


def _kind(annotation: Any) -> str:
    """Return in words what a value may be."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(inner[0])
    if origin is Literal:
        return ", ".join(f"`{one or _EMPTY}`" for one in inner)
    if origin in (Union, types.UnionType):
        return " or ".join("`null`" if one is type(None) else _kind(one) for one in inner)
    if origin is tuple:
        return f"list of {_plural(_kind(inner[0]))}"
    if origin is dict:
        return f"mapping of names to {_plural(_kind(inner[1]))}"
    if annotation is bool:
        return "`true`, `false`"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "section"
    return _WORDS[annotation]


def _plural(words: str) -> str:
    if words.startswith("list of "):
        return words.replace("list", "lists", 1)
    return words if words.startswith("`") else f"{words}s"


def _named_section(field: FieldInfo) -> type[Section] | None:
    """Return the section that each value of a mapping is, if it is one."""
    if get_origin(field.annotation) is not dict:
        return None
    value = get_args(field.annotation)[1]
    return value if isinstance(value, type) and issubclass(value, Section) else None


def _prose(section: type[Section]) -> str:
    paragraphs = re.sub(r"``([^`]*)``", r"`\1`", section.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs).strip()


def _retired() -> str:
    lines = ["## Keys of former versions", "", "| key | what has become of it |", "| --- | --- |"]
    for path, section in sections():
        for name, text in section.retired.items():
            successor = re.sub(r"'([a-z_.]+)'", r"`\1`", text)
            # Without marks of code, for they are no keys any more.
            lines.append(f"| {f'{path}.{name}'.lstrip('.')} | {successor} |")
    return "\n".join(lines)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")

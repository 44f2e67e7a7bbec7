"""Rows of test sets and predictions that others made: JSON lines, a list, or tool -> list.

Every row keeps its place, so that a mistake can be named by file and line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ste_ray.core.records import FailedCall, Message, canonical_json
from ste_ray.core.replies.strict_json import JSONTextError, clip, decode_value
from ste_ray.errors import StageInputError

_TOOL_KEYS = ("action", "tool")
_ARGUMENT_KEYS = ("action_input", "arguments")
_A_TOOL = " or ".join(map(repr, _TOOL_KEYS))
_SHOWN = 3  # mistakes that are told at once


@dataclass(frozen=True)
class Row:
    """A row of a file, with the keys that it may have under several names.

    Attributes:
        place: where it stands, for messages.
        fields: what it holds.
        group: the key of the list that holds it, if the file is tool -> list.
    """

    place: str
    fields: Mapping[str, Any]
    group: str = ""

    def error(self, problem: str) -> StageInputError:
        """Return an error that names the row."""
        return StageInputError(f"{self.place}: {problem}")

    def text(self, *keys: str, default: str | None = None) -> str:
        """Return the text under the first of ``keys`` that is there.

        Raises:
            StageInputError: there is none, or it is no text.
        """
        for key in keys:
            if key in self.fields:
                value = self.fields[key]
                if not isinstance(value, str):
                    raise self.error(f"{key!r} is {clip(repr(value))}, it must be text")
                return value
        if default is None:
            raise self.error(f"it has no {' or '.join(map(repr, keys))}")
        return default

    @property
    def tool(self) -> str:
        """The right tool."""
        found = self.text(*_TOOL_KEYS)
        if not found.strip():
            raise self.error("the right tool is empty")
        return found

    @property
    def arguments_json(self) -> str:
        """The right arguments, as canonical JSON of an object."""
        for key in _ARGUMENT_KEYS:
            if key in self.fields:
                return self._object(key, self.fields[key])
        raise self.error(f"it has no {' or '.join(map(repr, _ARGUMENT_KEYS))}: the right arguments")

    @property
    def right_call(self) -> tuple[str, str]:
        """The right tool and its arguments; empty texts where no call is right.

        That is said by a tool that is empty or null, or by a row that has neither tool nor
        arguments (but see ``require_tools_named``).
        """
        if any(self.fields.get(key) not in (None, "") for key in _TOOL_KEYS):
            return self.tool, self.arguments_json
        is_said = any(key in self.fields for key in _TOOL_KEYS)
        for key in (*_ARGUMENT_KEYS, "accepted"):
            if key in self.fields and not (is_said and self.fields[key] in (None, "", "{}", {})):
                raise self.error(
                    f"it has no {_A_TOOL}, but {key!r}; name the right tool, or leave both out"
                    " where no call is right"
                )
        return "", ""

    @property
    def accepted_json(self) -> str:
        """Further right values: argument -> list; empty: none."""
        if "accepted" not in self.fields:
            return ""
        text = self._object("accepted", self.fields["accepted"])
        if not all(isinstance(value, list) for value in json.loads(text).values()):
            raise self.error("'accepted' must be an object: argument -> list of right values")
        return text

    @property
    def failed_calls(self) -> tuple[FailedCall, ...]:
        """The calls that failed before the right one; none where the key is absent."""
        value = self.fields.get("failed_calls", [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.error(f"'failed_calls' is {clip(repr(value))}, it must be a list of objects")
        rows = [Row(f"{self.place}, 'failed_calls'", one) for one in value]
        return tuple(
            FailedCall(arguments_json=one.arguments_json, observation=one.text("observation"))
            for one in rows
        )

    @property
    def dialog(self) -> tuple[Message, ...]:
        """The messages of ``dialog_history``; none where it is absent."""
        value = self.fields.get("dialog_history", [])
        if not isinstance(value, list):
            raise self.error("'dialog_history' must be a list of messages")
        messages = []
        for item in value:
            try:
                message = Message.model_validate(item)
            except ValueError:
                message = None
            if message is None or message.role == "tool" or message.tool_calls:
                raise self.error(
                    f"'dialog_history' holds {clip(repr(item))}; each message needs 'role' (system,"
                    " user or assistant) and 'content', and calls stand in it as text"
                )
            messages.append(message)
        return tuple(messages)

    def _object(self, key: str, value: Any) -> str:
        if isinstance(value, str):
            try:
                parsed, text, end = decode_value(value.strip())
            except JSONTextError as error:
                raise self.error(f"{key!r} is no JSON: {error}") from None
            if isinstance(parsed, dict) and not value.strip()[end:]:
                return text
        elif isinstance(value, dict):
            return canonical_json(value)
        raise self.error(f"{key!r} is {clip(repr(value))}, it must be a JSON object")


def read_rows(path: str) -> list[Row]:
    """Read all rows of a file.

    Raises:
        StageInputError: it is missing, of another form, empty, or some rows are no JSON objects:
            the first of them are named.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise StageInputError(
            f"no file {path!r}; give an existing JSON or JSON lines file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StageInputError(f"cannot read {path!r}: {error}") from None
    rows = list(_rows(path, text))
    if not rows:
        raise StageInputError(f"{path!r} holds no rows")
    wrong = [row for row in rows if not isinstance(row.fields, dict)]
    if wrong:
        problems = told([f"{row.place}: {row.fields}" for row in wrong])
        raise StageInputError(f"{problems}; every row must be a JSON object")
    return rows


def told(problems: Sequence[str]) -> str:
    """Return the first of some problems, and how many more there are."""
    more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more


def require_tools_named(rows: Sequence[Row]) -> None:
    """Refuse rows none of which says anything of a tool: their keys have other names.

    Raises:
        StageInputError: that is so.
    """
    if not any(key in row.fields for row in rows for key in _TOOL_KEYS):
        raise rows[0].error(
            f'it has no {_A_TOOL}, nor has any other row; where no call is right, write "tool": ""'
        )


def _rows(path: str, text: str) -> Iterator[Row]:
    """Yield rows; one that is none has as its fields what is wrong with it."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield from _lines(path, text, error)
        return
    if isinstance(value, dict) and value and all(isinstance(v, list) for v in value.values()):
        for key, items in value.items():
            yield from _items(f"{path!r}, row {{}} of {key!r}", items, key)
    elif isinstance(value, list):
        yield from _items(f"{path!r}, row {{}}", value)
    elif isinstance(value, dict):
        yield Row(f"{path!r}, line 1", value)
    else:
        raise StageInputError(
            f"{path!r} must hold JSON lines, a list of rows, or an object tool -> list of rows"
        )


def _items(place: str, items: Sequence[Any], group: str = "") -> Iterator[Row]:
    for number, item in enumerate(items, start=1):
        fields = item if isinstance(item, dict) else f"it is {clip(repr(item))}"
        yield Row(place.replace("{}", str(number)), fields, group)  # type: ignore[arg-type]


def _lines(path: str, text: str, error: Exception) -> Iterator[Row]:
    lines = text.split("\n")  # strings of JSON may hold what else ends a line, such as U+2028
    if path.endswith(".json") or sum(bool(line.strip()) for line in lines) < 2:
        raise StageInputError(f"{path!r} is no JSON: {error}")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path!r}, line {number}"
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as problem:
            yield Row(place, f"no JSON ({problem})")  # type: ignore[arg-type]
            continue
        fields = item if isinstance(item, dict) else f"it is {clip(line)}"
        yield Row(place, fields)  # type: ignore[arg-type]

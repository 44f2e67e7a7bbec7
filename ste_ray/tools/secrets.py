"""Secrets by name: looked up when they are needed, never stored, masked wherever text comes back.

``${NAME}`` in a text stands for the secret ``NAME``. It is looked up in the environment, then as a
file of that name in the folder ``STE_SECRETS_DIR`` (as Kubernetes mounts them).
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ste_ray.errors import ToolSpecError

FOLDER_VARIABLE = "STE_SECRETS_DIR"
WORKDIR = "WORKDIR"  # no secret: the working directory of a session
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MIN_CHARS = 4  # shorter values cannot be told from ordinary text


class Secrets:
    """Looks secrets up and masks them.

    Args:
        environment: where to look first; None: this process's.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._given: dict[str, set[str]] = {}  # a value may change while an old one is in use

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return those of ``names`` that are not set, sorted."""
        return sorted(name for name in set(names) if self._find(name) is None)

    def get(self, name: str) -> str:
        """Return the value of a secret.

        Raises:
            ToolSpecError: it is not set, or too short to be masked.
        """
        value = self._find(name)
        if value is None:
            raise ToolSpecError(
                f"the secret {name!r} is not set; put it into the environment, or into a file of "
                f"that name in the folder {FOLDER_VARIABLE}"
            )
        if len(value) < _MIN_CHARS:
            raise ToolSpecError(
                f"the secret {name!r} has {len(value)} characters, too few to be kept out of "
                f"records; secrets have at least {_MIN_CHARS}"
            )
        self._given.setdefault(name, set()).add(value)
        return value

    def require(self, tool: str, names: Iterable[str]) -> None:
        """Look secrets of a tool up.

        Raises:
            ToolSpecError: one of them cannot be used; names the tool.
        """
        for name in sorted(set(names)):
            try:
                self.get(name)
            except ToolSpecError as error:
                raise ToolSpecError(f"tool {tool!r}: {error}") from None

    def fill(self, text: str) -> str:
        """Return ``text`` with the values of the secrets it refers to; see ``get`` for errors."""
        return _REFERENCE.sub(lambda match: self.get(match[1]), text)

    def mask(self, text: str, names: Iterable[str]) -> str:
        """Return ``text`` with ``[secret NAME]`` in place of the values of ``names``.

        Also found are the forms that a value takes in URLs, JSON and basic authentication, and the
        values that were given out before a secret changed.
        """
        marks = {
            form: name for name in names for value in self._values(name) for form in _forms(value)
        }
        if not marks:
            return text
        # The longest first: one secret may be the beginning of another.
        forms = sorted(marks, key=len, reverse=True)
        pattern = "|".join(map(re.escape, forms))
        return re.sub(pattern, lambda match: f"[secret {marks[match[0]]}]", text)

    def longest(self, names: Iterable[str]) -> int:
        """Return how many characters the longest form of any of ``names`` has."""
        forms = (form for name in names for value in self._values(name) for form in _forms(value))
        return max(map(len, forms), default=0)

    def _values(self, name: str) -> set[str]:
        values = set(self._given.get(name, ()))
        now = self._find(name)
        if now is not None and len(now) >= _MIN_CHARS:
            values.add(now)
        return values

    def _find(self, name: str) -> str | None:
        value = self._environment.get(name)
        if value:
            return value
        folder = self._environment.get(FOLDER_VARIABLE)
        if not folder:
            return None
        try:
            return Path(folder, name).read_text(encoding="utf-8").rstrip("\n") or None
        except (OSError, UnicodeDecodeError):
            return None


def references(value: Any) -> set[str]:
    """Return the names of the secrets that the texts within a JSON value refer to."""
    if isinstance(value, str):
        return set(_REFERENCE.findall(value)) - {WORKDIR}
    if isinstance(value, Mapping):
        return {name for part in [*value, *value.values()] for name in references(part)}
    if isinstance(value, list | tuple):
        return {name for part in value for name in references(part)}
    return set()


def _forms(value: str) -> list[str]:
    """The texts that give ``value`` away."""
    quoted = {
        urllib.parse.quote(value),
        urllib.parse.quote(value, safe=""),
        urllib.parse.quote_plus(value),
    }
    forms = {
        value,
        *quoted,
        *(re.sub("%..", lambda match: match[0].lower(), form) for form in quoted),
        html.escape(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        *_base64_forms(value.encode()),
    }
    return list(forms)


def _base64_forms(data: bytes) -> set[str]:
    """What base64 makes of ``data``, also where it is only part of what was encoded.

    Which characters stand for it depends on how many bytes come before, modulo 3; those at the ends
    that hold bits of neighbours too are left out.
    """
    forms = set()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        first = -(-before * 8 // 6)
        last = (before + len(data)) * 8 // 6
        inner = encoded[first:last]
        if len(inner) >= _MIN_CHARS:
            forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return forms

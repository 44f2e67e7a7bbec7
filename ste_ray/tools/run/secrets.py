"""Secrets by name: looked up when they are needed, never stored, masked wherever text comes back.

``${NAME}`` in a text stands for the secret ``NAME``. It is looked up in the environment, then as a
file of that name in the folder ``STE_SECRETS_DIR`` (as Kubernetes mounts them).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ste_ray.core.executor_specs import ExecutorSpec
from ste_ray.core.texts.masking import MIN_CHARS, Masker
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.process.environment import SECRETS_FOLDER, environment_secrets

FOLDER_VARIABLE = SECRETS_FOLDER
WORKDIR = "WORKDIR"  # no secret: the working directory of a session
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAX_MASKERS = 256


class Secrets:
    """Looks secrets up and masks them.

    Args:
        environment: where to look first; None: this process's.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._given: dict[str, set[str]] = {}  # a value may change while an old one is in use
        self._maskers: dict[frozenset[tuple[str, str]], Masker] = {}

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
        if len(value) < MIN_CHARS:
            raise ToolSpecError(
                f"the secret {name!r} has {len(value)} characters, too few to be kept out of "
                f"records; secrets have at least {MIN_CHARS}"
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
        """Return ``text`` with ``[secret NAME]`` in place of the values of ``names``."""
        return self.masker(names).mask(text)

    def masker(self, names: Iterable[str]) -> Masker:
        """Return what masks the values of ``names``, also those given out before they changed.

        Other secrets of this process are masked too: a tool has no business with them, and may have
        found them nevertheless.
        """
        marks = {value: f"[secret {name}]" for name in names for value in self._values(name)}
        marks = {**self._others, **marks}
        key = frozenset(marks.items())
        if key not in self._maskers:
            if len(self._maskers) >= _MAX_MASKERS:
                self._maskers.clear()
            self._maskers[key] = Masker(marks)
        return self._maskers[key]

    @cached_property
    def _others(self) -> dict[str, str]:
        return environment_secrets(self._environment)

    def _values(self, name: str) -> set[str]:
        values = set(self._given.get(name, ()))
        now = self._find(name)
        if now is not None and len(now) >= MIN_CHARS:
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


def used_secrets(spec: ToolSpec) -> set[str]:
    """Return the names of the secrets that a tool needs: those it names and those it refers to."""
    return {*spec.secrets, *executor_secrets(spec.executor)}


def executor_secrets(executor: ExecutorSpec) -> tuple[str, ...]:
    """Return the names of the secrets that an executor refers to, sorted.

    Fields that were left out count too: some refer to a secret by default.
    """
    return tuple(sorted(references(executor.model_dump())))


def references(value: Any) -> set[str]:
    """Return the names of the secrets that the texts within a JSON value refer to."""
    if isinstance(value, str):
        return set(_REFERENCE.findall(value)) - {WORKDIR}
    if isinstance(value, Mapping):
        return {name for part in [*value, *value.values()] for name in references(part)}
    if isinstance(value, list | tuple):
        return {name for part in value for name in references(part)}
    return set()

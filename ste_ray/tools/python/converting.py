"""Makes of JSON what the type hints of a function ask for; used within worker processes only."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call

from ste_ray.tools.errors import ToolError


def converted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` with its arguments converted; one that cannot be is a ``ToolError``."""
    checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(function)

    @functools.wraps(function)
    def call(**arguments: Any) -> Any:
        try:
            return checked(**arguments)
        except ValidationError as error:
            raise ToolError(f"Invalid arguments: {_explained(error)}") from None

    return call


def _explained(error: ValidationError) -> str:
    problems = []
    for one in error.errors(include_url=False):
        path = ".".join(map(str, one["loc"]))
        problems.append(f"argument {path!r} is {one['input']!r}: {one['msg']}")
    return "; ".join(problems)

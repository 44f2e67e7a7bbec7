"""Keeps tools that change something outside from being explored by trial and error unasked."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError

_NAMES_SHOWN = 20
SAFE_EFFECTS = ("read_only", "idempotent")


def refuse_unsafe(specs: Mapping[str, ToolSpec], allow: Collection[str]) -> None:
    """Refuse tools that may write, destroy or are of unknown effect, unless they are allowed.

    Args:
        specs: The tools that are about to be called with invented arguments.
        allow: Names of tools that a person has allowed (``tools.allow``).

    Raises:
        ToolSpecError: naming the refused tools with their effect, and the remedy.
    """
    refused = [
        f"{name!r} ({spec.effect})"
        for name, spec in sorted(specs.items())
        if spec.effect not in SAFE_EFFECTS and name not in allow
    ]
    if refused:
        more = len(refused) - _NAMES_SHOWN
        names = ", ".join(refused[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        raise ToolSpecError(
            f"these tools may change something when they are called: {names}; declare "
            f"their effect as {' or '.join(SAFE_EFFECTS)} if that is true, leave them out "
            "(tools.include), or allow each by name in tools.allow"
        )

"""Keeps tools that change something outside from being explored by trial and error unasked."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError

SAFE_EFFECTS = ("read_only", "idempotent")


def refuse_unsafe(specs: Mapping[str, ToolSpec], allow: Collection[str]) -> None:
    """Refuse tools that may write, destroy or are of unknown effect, unless they are allowed.

    Args:
        specs: The tools that are about to be called with invented arguments.
        allow: Names of tools that a person has allowed (``tools.allow``).

    Raises:
        ToolSpecError: naming every refused tool with its effect, and the remedy.
    """
    refused = [
        f"{name!r} ({spec.effect})"
        for name, spec in sorted(specs.items())
        if spec.effect not in SAFE_EFFECTS and name not in allow
    ]
    if refused:
        raise ToolSpecError(
            f"these tools may change something when they are called: {', '.join(refused)}; declare "
            f"their effect as {' or '.join(SAFE_EFFECTS)} if that is true, leave them out "
            "(tools.include), or allow each by name in tools.allow"
        )

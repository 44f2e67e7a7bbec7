"""Keeps tools that change something outside from being explored by trial and error unasked."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError

_NAMES_SHOWN = 20
FREE_EFFECTS = ("read_only",)


def is_free(spec: ToolSpec) -> bool:
    """Whether a tool may be called with invented arguments without being allowed.

    An idempotent call may be repeated, yet it changes something too.
    """
    return spec.effect in FREE_EFFECTS or spec.kind == "simulated"


def allowed_specs(
    specs: Mapping[str, ToolSpec], allow: Collection[str], include: Collection[str] = ()
) -> tuple[dict[str, ToolSpec], dict[str, ToolSpec]]:
    """Divide tools into those that may be called and those that may not.

    Args:
        specs: The tools that would be called with invented arguments.
        allow: Names of tools that a person has allowed (``tools.allow``, ``allow:`` of a file).
        include: Names of tools that were asked for; those must all be allowed.

    Returns:
        The tools to call, and those to leave out.

    Raises:
        ToolSpecError: a tool that was asked for is not allowed, or none is: naming the refused
            tools with their effect, and the remedy.
    """
    kept, left_out = divided_specs(specs, allow)
    refused = left_out if not kept else {n: s for n, s in left_out.items() if n in include}
    if refused:
        raise ToolSpecError(
            f"these tools may change something when they are called: {named(refused)}; declare "
            "their effect as read_only if that is true, leave them out (tools.include), or allow "
            "each by name, in tools.allow or under allow: in its file"
        )
    return kept, left_out


def divided_specs(
    specs: Mapping[str, ToolSpec], allow: Collection[str]
) -> tuple[dict[str, ToolSpec], dict[str, ToolSpec]]:
    """Return the tools that may be called and those that may not, whatever was asked for."""
    kept = {name: spec for name, spec in specs.items() if is_free(spec) or name in allow}
    return kept, {name: spec for name, spec in specs.items() if name not in kept}


def named(specs: Mapping[str, ToolSpec]) -> str:
    """Return the names of tools with their effects, as a person reads them."""
    names = [f"{name!r} ({spec.effect})" for name, spec in sorted(specs.items())]
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")

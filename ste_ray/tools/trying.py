"""Calls the examples of tools and reports what fails and how long calls take."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection
from typing import Any

from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.records import canonical_json
from ste_ray.core.tool_specs import ToolExample, ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.runtime.clock import MonotonicClock
from ste_ray.tools.run.gate import Gate
from ste_ray.tools.run.toolbox import Toolbox
from ste_ray.tools.spec.files import ToolFiles
from ste_ray.tools.spec.safety import is_free

_SHOWN_CHARS = 200


async def check_tools(
    files: ToolFiles, allow: Collection[str], toolbox: Toolbox, say: Callable[[str], None]
) -> dict[str, Any]:
    """Call every example of every tool that may be called.

    Args:
        files: the tools.
        allow: names of tools that may be called although they are not read-only.
        toolbox: calls them.
        say: is told of each failure as it happens.

    Returns:
        Figures: ``tools``, ``checked``, ``passed``, ``failed``, ``skipped`` and ``results``, a list
        with name, state ("passed", "failed", "skipped"), reason, calls and ``median_ms`` of each.
    """
    results = []
    allowed = files.allow.union(allow)
    async with toolbox:
        for spec in files.specs.values():
            reason = _not_checked(spec, spec.name in allowed)
            if reason:
                result: dict[str, Any] = {"state": "skipped", "reason": reason}
            else:
                result = await _check(spec, toolbox)
            results.append({"name": spec.name, **result})
            if result["state"] == "failed":
                say(f"{spec.name}: {result['reason']}")
    states = [result["state"] for result in results]
    return {
        "tools": len(results),
        "checked": len(results) - states.count("skipped"),
        "passed": states.count("passed"),
        "failed": states.count("failed"),
        "skipped": states.count("skipped"),
        "results": results,
    }


def as_lines(figures: dict[str, Any]) -> str:
    """Return the figures for a person: a line for each tool, and one for all."""
    width = max((len(result["name"]) for result in figures["results"]), default=0)
    lines = []
    for result in figures["results"]:
        latency = f"{result['median_ms']:8.1f} ms" if "median_ms" in result else " " * 11
        reason = f"  {result['reason']}" if result["reason"] else ""
        lines.append(f"{result['name']:<{width}}  {result['state']:<7} {latency}{reason}\n")
    lines.append(
        f"{figures['tools']} tools: {figures['passed']} passed, {figures['failed']} failed, "
        f"{figures['skipped']} skipped\n"
    )
    return "".join(lines)


def _not_checked(spec: ToolSpec, allowed: bool) -> str:
    if not spec.executor.can_be_called:
        return f"kind {spec.kind!r} cannot be called"
    if spec.kind == "simulated":
        return "played by a model in an exploration"
    if not is_free(spec) and not allowed:
        return f"effect {spec.effect!r}: allow it to have it called"
    return ""


async def _check(spec: ToolSpec, toolbox: Toolbox) -> dict[str, Any]:
    """Call the examples of a tool one after the other, as fast as it may be called."""
    if not spec.examples:
        try:
            await toolbox.verify([spec.name])
        except ToolSpecError as error:
            return {"state": "failed", "reason": str(error)}
        return {"state": "passed", "reason": "can be reached; it has no examples to call"}
    gate = Gate(spec, MonotonicClock())
    results = []
    async with toolbox.episode(f"check of {spec.name}", gate) as tool:
        for example in spec.examples:
            text = canonical_json(example.arguments)
            request = CallTool.of(spec.name, text, example.arguments)
            result = await tool.call(request)
            results.append(result)
            reason = _difference(example, result)
            if reason:
                return {"state": "failed", "reason": reason, "calls": len(results)}
    return {
        "state": "passed",
        "reason": "",
        "calls": len(results),
        "median_ms": round(statistics.median(result.seconds for result in results) * 1000, 2),
    }


def _difference(example: ToolExample, result: ToolResult) -> str:
    """Say how a result differs from what an example promises; empty if it does not."""
    failed = result.status in ("error", "rejected")
    if (result.status == "ok" and not example.expect_error) or (failed and example.expect_error):
        return ""
    shown = " ".join(result.text.split())[:_SHOWN_CHARS]
    wanted = "an error was expected" if example.expect_error else "a result was expected"
    return f"{canonical_json(example.arguments)} gave {result.status!r} ({shown}); {wanted}"

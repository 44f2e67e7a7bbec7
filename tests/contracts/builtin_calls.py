"""Calls built-in tools as a run does: arguments are checked, then a worker process is asked."""

import asyncio
import json
from contextlib import contextmanager
from pathlib import Path

from tool_specs import load_tool_specs

from ste_ray.core.effects import ToolResult
from ste_ray.tools.checks.arguments import ArgumentCheck
from ste_ray.tools.python.pool import WorkerPool

MEMORY_MB = 1024
SPECS = load_tool_specs(["builtin"], shipped=Path(__file__).parents[2] / "tool_metadata")
CHECKS = {name: ArgumentCheck(spec.parameters) for name, spec in SPECS.items()}


@contextmanager
def open_tools(today="2026-03-02"):
    """Yield a function that calls a tool by name; all calls share one warm worker."""
    with asyncio.Runner() as runner:
        pool = WorkerPool(1, MEMORY_MB, today)

        def call(name, arguments):
            refusal = CHECKS[name].refusal(json.dumps(arguments))
            if refusal is not None:
                return ToolResult(status="rejected", text=refusal)
            spec = SPECS[name]
            return runner.run(
                pool.call(
                    spec.executor.target,
                    arguments,
                    spec.timeout_seconds,
                    spec.max_output_chars,
                )
            )

        yield call
        runner.run(pool.aclose())

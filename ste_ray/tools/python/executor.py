"""Calls tools of the kind ``python`` in the worker processes of a pool."""

from __future__ import annotations

from collections.abc import Sequence

from ste_ray.core.effects import ToolResult
from ste_ray.core.executor_specs import PythonFunction
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.python.pool import WorkerPool
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets


class PythonExecutor:
    """Fulfils ``Executor`` for Python functions.

    The secrets that a tool names are in its environment during a call, and only then.

    Args:
        pool: calls the functions; closed with the executor.
        secrets: looked up at each call.
    """

    def __init__(self, pool: WorkerPool, secrets: Secrets) -> None:
        self._pool = pool
        self._secrets = secrets

    async def prepare(self, call: CheckedCall) -> None:
        """Nothing has to be waited for."""

    async def call(self, call: CheckedCall) -> ToolResult:
        """Call the function; see ``Executor``."""
        spec = call.spec
        function = _function(spec)
        return await self._pool.call(
            function.target,
            call.arguments,
            spec.timeout_seconds,
            spec.max_output_chars,
            secrets=self._values(spec),
            convert=function.convert,
        )

    async def verify(self, specs: Sequence[ToolSpec]) -> None:
        """Import every function in a worker process, and find secrets that are not set."""
        users = {_function(spec).target: spec for spec in reversed(specs)}
        for spec in specs:
            self._secrets.require(spec.name, spec.secrets)
        for target, spec in reversed(users.items()):
            result = await self._pool.load(target, secrets=self._values(spec))
            if result.status != "ok":
                raise ToolSpecError(
                    f"tool {spec.name!r}: executor.target={target!r} cannot be used: "
                    f"{result.text}; install the module, run from its folder, or set PYTHONPATH"
                )

    def preview(self, call: CheckedCall) -> str:
        """Return the call as Python writes it."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
        return f"{_function(call.spec).target}({arguments})"

    async def end_episode(self, episode: str) -> None:
        """Nothing is kept for an episode."""

    async def aclose(self) -> None:
        """End the worker processes."""
        await self._pool.aclose()

    def _values(self, spec: ToolSpec) -> dict[str, str]:
        return {name: self._secrets.get(name) for name in spec.secrets}


def _function(spec: ToolSpec) -> PythonFunction:
    assert isinstance(spec.executor, PythonFunction)
    return spec.executor

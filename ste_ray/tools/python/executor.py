"""Calls tools of the kind ``python`` in the worker processes of a pool."""

from __future__ import annotations

from collections.abc import Sequence

from ste_ray.core.effects import ToolResult
from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.executor import ToolCall
from ste_ray.tools.kinds import PythonFunction
from ste_ray.tools.python.pool import WorkerPool
from ste_ray.tools.secrets import Secrets


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
        self._functions: dict[str, PythonFunction] = {}  # by fingerprint of the tool

    async def call(self, call: ToolCall) -> ToolResult:
        """Call the function; see ``Executor``."""
        spec = call.spec
        function = self._function(spec)
        return await self._pool.call(
            function.target,
            call.arguments,
            spec.timeout_seconds,
            spec.max_output_chars,
            secrets={name: self._secrets.get(name) for name in spec.secrets},
            convert=function.convert,
        )

    async def verify(self, specs: Sequence[ToolSpec]) -> None:
        """Import every function in a worker process, and find secrets that are not set."""
        users = {self._function(spec).target: spec.name for spec in reversed(specs)}
        for spec in specs:
            for name in spec.secrets:
                try:
                    self._secrets.get(name)
                except ToolSpecError as error:
                    raise ToolSpecError(f"tool {spec.name!r}: {error}") from None
        for target, name in reversed(users.items()):
            result = await self._pool.load(target)
            if result.status != "ok":
                raise ToolSpecError(
                    f"tool {name!r}: executor.target={target!r} cannot be used: {result.text}; "
                    "install the module, run from its folder, or set PYTHONPATH"
                )

    def preview(self, call: ToolCall) -> str:
        """Return the call as Python writes it."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
        return f"{self._function(call.spec).target}({arguments})"

    async def end_episode(self, episode: str) -> None:
        """Nothing is kept for an episode."""

    async def aclose(self) -> None:
        """End the worker processes."""
        await self._pool.aclose()

    def _function(self, spec: ToolSpec) -> PythonFunction:
        known = self._functions.get(spec.fingerprint)
        if known is None:
            known = PythonFunction.model_validate(spec.executor)
            self._functions[spec.fingerprint] = known
        return known

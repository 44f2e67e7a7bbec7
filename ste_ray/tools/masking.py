"""Keeps the values of secrets out of whatever a tool says, before anything else sees it."""

from __future__ import annotations

from collections.abc import Sequence

from ste_ray.core.effects import ToolResult
from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.executor import Executor, ToolCall
from ste_ray.tools.secrets import Secrets


class MaskingExecutor:
    """Fulfils ``Executor`` around another one, masking the secrets of the tool in its answers."""

    def __init__(self, inner: Executor, secrets: Secrets) -> None:
        self._inner = inner
        self._secrets = secrets

    async def call(self, call: ToolCall) -> ToolResult:
        """Call the tool; a secret that has gone since the start ends the call as ``crashed``."""
        names = call.spec.secrets
        try:
            result = await self._inner.call(call)
        except ToolSpecError as error:
            return ToolResult(status="crashed", text=self._secrets.mask(str(error), names))
        text = self._secrets.mask(result.text, names) if names else result.text
        return result if text == result.text else result.model_copy(update={"text": text})

    async def verify(self, specs: Sequence[ToolSpec]) -> None:
        """See ``Executor``."""
        try:
            await self._inner.verify(specs)
        except ToolSpecError as error:
            names = {name for spec in specs for name in spec.secrets}
            raise ToolSpecError(self._secrets.mask(str(error), names)) from None

    def preview(self, call: ToolCall) -> str:
        """See ``Executor``."""
        return self._secrets.mask(self._inner.preview(call), call.spec.secrets)

    async def end_episode(self, episode: str) -> None:
        """See ``Executor``."""
        await self._inner.end_episode(episode)

    async def aclose(self) -> None:
        """See ``Executor``."""
        await self._inner.aclose()

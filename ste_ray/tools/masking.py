"""Keeps the values of secrets out of whatever a tool says, before anything else sees it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ste_ray.core.effects import ToolResult
from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.executor import Executor, ToolCall, cut_text
from ste_ray.tools.secrets import Secrets

_CUT = re.compile(r"… \[cut(?:: \d+ of (\d+) characters)?\]\Z")


class MaskingExecutor:
    """Fulfils ``Executor`` around another one, masking the secrets of the tool in its answers."""

    def __init__(self, inner: Executor, secrets: Secrets) -> None:
        self._inner = inner
        self._secrets = secrets

    async def prepare(self, call: ToolCall) -> None:
        """See ``Executor``."""
        await self._inner.prepare(call)

    async def call(self, call: ToolCall) -> ToolResult:
        """Call the tool; a secret that has gone since the start ends the call as ``crashed``."""
        spec, names = call.spec, call.spec.secrets
        margin = 2 * self._secrets.longest(names)
        if margin:
            # A secret that is cut in two would not be found: more is asked for than is kept.
            limits = {"max_output_chars": spec.max_output_chars + margin}
            call = replace(call, spec=spec.model_copy(update=limits))
        try:
            result = await self._inner.call(call)
        except ToolSpecError as error:
            return ToolResult(status="crashed", text=self._secrets.mask(str(error), names))
        if not names:
            return result
        text = self._masked(result.text, names, margin // 2, spec.max_output_chars)
        return result if text == result.text else result.model_copy(update={"text": text})

    def _masked(self, text: str, names: Sequence[str], longest: int, max_chars: int) -> str:
        """Mask a text and cut it to its limit; where it was cut before, its end is not trusted."""
        cut = _CUT.search(text)
        body = text[: cut.start()] if cut else text
        masked = self._secrets.mask(body, names)
        if not cut:
            return cut_text(masked, max_chars)
        total = max(int(cut[1] or 0), len(body) + 1)
        return cut_text(masked[: max(0, len(masked) - longest)], max_chars, total)

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

"""Keeps the values of secrets out of whatever a tool says, before anything else sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ste_ray.core.effects import ToolResult
from ste_ray.core.texts.cutting import cut_result
from ste_ray.core.texts.masking import Masker
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.run.executor import CheckedCall, Executor
from ste_ray.tools.run.secrets import Secrets

# Each character of a secret can take several of a text: ``\u0061``, escaped once more.
_CHARS_PER_CHAR = 7
_MAX_MARGIN = 4_096


class MaskingExecutor:
    """Fulfils ``Executor`` around another one, masking the secrets of the tool in its answers."""

    def __init__(self, inner: Executor, secrets: Secrets) -> None:
        self._inner = inner
        self._secrets = secrets

    async def prepare(self, call: CheckedCall) -> None:
        """See ``Executor``."""
        await self._inner.prepare(call)

    async def call(self, call: CheckedCall) -> ToolResult:
        """Call the tool; a secret that has gone since the start ends the call as ``crashed``."""
        spec = call.spec
        masker = self._secrets.masker(spec.secrets)
        margin = min(_MAX_MARGIN, _CHARS_PER_CHAR * masker.longest)
        if margin:
            # A secret at the cut is better known from all of it: more is asked for than is kept.
            limits = {"max_output_chars": spec.max_output_chars + margin}
            call = replace(call, spec=spec.model_copy(update=limits))
        try:
            result = await self._inner.call(call)
        except ToolSpecError as error:
            return ToolResult(status="crashed", text=masker.mask(str(error)))
        # Looked up once more: a secret may have changed during the call.
        return _masked(result, self._secrets.masker(spec.secrets), spec.max_output_chars)

    async def verify(self, specs: Sequence[ToolSpec]) -> None:
        """See ``Executor``."""
        try:
            await self._inner.verify(specs)
        except ToolSpecError as error:
            names = {name for spec in specs for name in spec.secrets}
            raise ToolSpecError(self._secrets.mask(str(error), names)) from None

    def preview(self, call: CheckedCall) -> str:
        """See ``Executor``."""
        return self._secrets.mask(self._inner.preview(call), call.spec.secrets)

    async def end_episode(self, episode: str) -> None:
        """See ``Executor``."""
        await self._inner.end_episode(episode)

    async def aclose(self) -> None:
        """See ``Executor``."""
        await self._inner.aclose()


def _masked(result: ToolResult, masker: Masker, max_chars: int) -> ToolResult:
    """Mask all that is there of an answer, and cut it to its limit only then."""
    if not masker:
        return result
    was_cut = result.shown_chars is not None
    masked = masker.mask(result.answer, cut=was_cut)
    if masked == result.answer and len(masked) <= max_chars:
        return result
    total = result.total_chars
    if was_cut and total is not None:
        total = max(total, len(masked) + 1)  # marks may be longer than what they stand for
    whole = result.model_copy(update={"text": masked, "shown_chars": None, "total_chars": None})
    return cut_result(whole, max_chars, total, is_part=was_cut)

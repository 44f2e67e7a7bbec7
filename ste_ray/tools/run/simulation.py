"""Simulated tools: a language model answers in their place, and every answer is marked simulated.

What the model is asked, and how its reply is read, is in ``ste_ray.core.exploring.simulating``.
Equal calls get equal answers only when a ``RecordingExecutor`` stands around this executor.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

from ste_ray.core.effects import AskModel, ModelReply, ToolResult
from ste_ray.core.executor_specs import SimulatedTool
from ste_ray.core.exploring.simulating import ask_simulator, read_simulation
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import canonical_json
from ste_ray.core.replies.strict_json import clip
from ste_ray.core.texts.cutting import cut_result
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets, used_secrets

AskSimulator = Callable[[AskModel], Awaitable[ModelReply]]
SimulationMode = Literal["never", "when_missing", "always"]


class SimulatedExecutor:
    """Fulfils ``Executor`` for tools of kind ``simulated``.

    Args:
        ask: asks the model that plays the role ``tool_simulator``.
        prompts: the shipped prompts.
    """

    def __init__(self, ask: AskSimulator, prompts: PromptSet) -> None:
        self._ask = ask
        self._prompts = prompts

    async def prepare(self, call: CheckedCall) -> None:
        """Nothing has to be waited for."""

    async def call(self, call: CheckedCall) -> ToolResult:
        """Ask the model to answer.

        The tool's timeout does not apply: how long a model may take, and how often it is asked, is
        up to whoever asks.

        Raises:
            BudgetExhaustedError, EndpointError, ProviderUnavailableError: the model cannot be asked
                at all, which ends more than this call.
        """
        spec = call.spec
        started = time.monotonic()
        reply = await self._ask(ask_simulator(spec, call.arguments, self._prompts))
        result = cut_result(read_simulation(reply), spec.max_output_chars)
        return result.model_copy(update={"seconds": time.monotonic() - started})

    async def verify(self, specs: Sequence[ToolSpec]) -> None:
        """Accept every tool: the model's endpoint is checked where it is opened."""

    def preview(self, call: CheckedCall) -> str:
        """See ``Executor``."""
        arguments = clip(canonical_json(call.arguments), 200)
        return f"ask a language model to answer as {call.spec.name!r} would, for {arguments}"

    async def end_episode(self, episode: str) -> None:
        """Nothing is kept for an episode."""

    async def aclose(self) -> None:
        """Nothing is open."""


def simulated_specs(
    specs: Mapping[str, ToolSpec], mode: SimulationMode, secrets: Secrets
) -> dict[str, ToolSpec]:
    """Return ``specs`` with those that shall be played by a model turned into simulated tools.

    Args:
        specs: by name.
        mode: ``never``; ``when_missing``: tools that cannot be called or lack a secret; ``always``.
        secrets: says which are missing.

    Returns:
        By name, in the same order. A simulated tool keeps what is documented, reads only, needs no
        secret, and is not held to the rate limits of the service that it stands for.
    """
    if mode == "never":
        return dict(specs)
    return {
        name: as_simulated(spec) if mode == "always" or _cannot_be_called(spec, secrets) else spec
        for name, spec in specs.items()
    }


def _cannot_be_called(spec: ToolSpec, secrets: Secrets) -> bool:
    return not spec.executor.can_be_called or bool(secrets.missing(used_secrets(spec)))


def as_simulated(spec: ToolSpec) -> ToolSpec:
    """Return the simulated tool that stands for ``spec``; see ``simulated_specs``."""
    if isinstance(spec.executor, SimulatedTool):
        return spec
    return spec.changed(
        executor=SimulatedTool(of=spec.executor.as_written()),
        effect="read_only",
        secrets=(),
        requests_per_minute=None,
        concurrency=None,
    )

"""What calls tools of one kind: the interface behind ``Toolbox``, and what all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ste_ray.core.effects import ToolResult
from ste_ray.core.tool_specs import ToolSpec


@dataclass(frozen=True)
class CheckedCall:
    """A call whose arguments have been checked.

    Attributes:
        spec: the tool; ``spec.executor`` is of the executor's kind.
        arguments: a JSON object.
        episode: identity of the episode that calls; what a stateful tool remembers is kept apart
            for each. Empty: no episode.
    """

    spec: ToolSpec
    arguments: dict[str, Any]
    episode: str = ""


class Executor(Protocol):
    """Calls tools of one kind; safe for many calls at once in one event loop."""

    async def prepare(self, call: CheckedCall) -> None:
        """Get ready what a call needs and may have to wait for, before it takes a slot.

        Whoever held a slot of a tool while waiting for a place could be waited for by whoever
        has the place. What goes wrong here is told by the call.
        """
        ...

    async def call(self, call: CheckedCall) -> ToolResult:
        """Call the tool within ``spec.timeout_seconds``; whatever goes wrong is the result.

        The text is cut to ``spec.max_output_chars`` with ``core.texts.cutting.cut_result``.
        """
        ...

    async def verify(self, specs: Sequence[ToolSpec]) -> None:
        """Find out before an exploration what would make every call of a tool fail.

        Raises:
            ToolSpecError: naming the tool, what is wrong, and the remedy.
        """
        ...

    def preview(self, call: CheckedCall) -> str:
        """Say in one line what a call would do, without secrets: ``--dry-run`` prints it."""
        ...

    async def end_episode(self, episode: str) -> None:
        """Give up what is kept for an episode."""
        ...

    async def aclose(self) -> None:
        """Give up everything; calls under way end as ``crashed``."""
        ...

"""What a partition is prepared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ste_ray.config import Config
from ste_ray.core.prompts import PromptSet
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.runtime.drive import RunFlow
from ste_ray.stages.prepare.pairs import Neighbourhood

_WAITING_PER_CALL = 4  # flows begun for each request that may be in flight


@dataclass(frozen=True)
class PrepareContext:
    """What the steps of preparing a partition share.

    Attributes:
        config: the whole configuration.
        specs: the run's tools by name.
        prompts: the prompt templates.
        run_flow: drives a flow under a scope of the partition's journal; None: no model is asked.
        neighbourhood: which tools may be taken for each other; None: models write no tests.
        not_executed: why calls of some tools are not executed.
    """

    config: Config
    specs: Mapping[str, ToolSpec]
    prompts: PromptSet
    run_flow: RunFlow | None
    neighbourhood: Neighbourhood | None = None
    not_executed: Mapping[str, str] = field(default_factory=dict)

    @property
    def window(self) -> int:
        """How many flows may be begun and not yet finished in order."""
        return _WAITING_PER_CALL * self.config.llm.max_concurrency

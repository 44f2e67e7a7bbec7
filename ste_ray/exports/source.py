"""What exports of prepared data are made from; how a run is stored is not their business."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ste_ray.core import layout
from ste_ray.core.asked_models import AskedModel
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Episode, Example, TrainRow
from ste_ray.core.texts.local_paths import is_local
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import StageInputError


@dataclass(frozen=True)
class ExportSource:
    """A prepared run.

    Attributes:
        run: its address, without credentials.
        specs: the tools that were explored, by name.
        tools: names of the tools in the data, sorted.
        prompts: the prompts that the rows were made with.
        manifest: of the prepare stage: ``config``, ``counts``, ``notes``, ``code_version``, ….
        models: stage -> role -> who answered in it.
        examples: yields the examples, those of a tool together; can be called again.
        rows: yields the training rows, likewise.
        episodes: yields what was explored, likewise; nothing, where the data came otherwise.
    """

    run: str
    specs: Mapping[str, ToolSpec]
    tools: tuple[str, ...]
    prompts: PromptSet
    manifest: Mapping[str, Any]
    models: Mapping[str, Mapping[str, AskedModel]]
    examples: Callable[[], Iterator[Example]]
    rows: Callable[[], Iterator[TrainRow]]
    episodes: Callable[[], Iterator[Episode]]

    @property
    def public_origin(self) -> str:
        """Say from which run it is, unless that lies on this machine."""
        return "" if is_local(self.run) else f" from the run `{self.run}`"

    @property
    def simulated(self) -> tuple[str, ...]:
        """Names of the tools in the data that a model played."""
        return tuple(
            name
            for name in self.tools
            if name in self.specs and self.specs[name].kind == "simulated"
        )

    def is_scripted(self, stage: str) -> bool:
        """Whether a script, not a language model, answered in all roles of a stage."""
        asked = self.models.get(stage, {}).values()
        return bool(asked) and all(one.is_script for one in asked)

    def spec(self, tool: str) -> ToolSpec:
        """Return the specification of a tool in the data.

        Raises:
            StageInputError: the run does not describe it.
        """
        if tool not in self.specs:
            raise StageInputError(
                f"{self.run!r} holds examples of tool {tool!r}, which {layout.TOOLS} does not "
                "describe; run explore and prepare again, in another run"
            )
        return self.specs[tool]

    def other_rows(self) -> Iterator[TrainRow]:
        """Yield the rows that belong to no example: general data and requests without a call."""
        return (row for row in self.rows() if row.kind in ("general", "no_call"))

    @property
    def tool_responses(self) -> bool:
        """Whether final answers are trained on, if only those of a share of the examples.

        Exports in which a conversation is one row hold the answers of all then: there they cost no
        second copy of the dialog.
        """
        return bool(self.manifest["config"]["prepare"]["tool_responses"])

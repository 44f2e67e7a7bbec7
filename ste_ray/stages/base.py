"""What every stage works with: its context, and what a run holds of tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.asked_models import AskedModel
from ste_ray.core.prompts import (
    NATIVE_PROMPTS,
    PLAN_PROMPTS,
    REQUIRED_PROMPTS,
    TEST_PROMPTS,
    PromptSet,
)
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError
from ste_ray.resources import resource_folder
from ste_ray.stages.shared.tools import ConfiguredTools, configure_tools
from ste_ray.stages.tracking.tracking import Tracking
from ste_ray.store.artifacts import RunStore


@dataclass
class StageContext:
    """What a stage works with.

    Attributes:
        config: the whole configuration; a stage reads its own section and the shared ones.
        store: the run's artifacts.
        progress: says a line to the person who waits.
        show: whether conversations are printed while they happen.
        live: whether a bar may be drawn in a terminal.
        again: try although the same configuration has failed for good before.
        epoch: of the run lock; part of the names of journal segments.
        check_owner: raises when the run belongs to another process by now.
        notes: honest remarks for manifest and report, appended by the stage.
        models: which models were asked by role, where the stage does not ask them itself.
        stopped_by: set by a stage that ends before its work is done, for example by its budget.
        tracking: takes figures while the stage runs.
    """

    config: Config
    store: RunStore
    progress: Callable[[str], None]
    show: bool = False
    live: bool = False
    again: bool = True
    epoch: int = 0
    check_owner: Callable[[], None] = lambda: None
    notes: list[str] = field(default_factory=list)
    models: dict[str, AskedModel] = field(default_factory=dict)
    stopped_by: str = ""
    tracking: Tracking = field(default_factory=Tracking)

    @cached_property
    def specs(self) -> dict[str, ToolSpec]:
        """The run's tools by name, as they were explored."""
        return read_specs(self.store)

    @cached_property
    def configured_tools(self) -> ConfiguredTools:
        """The tools as the tool files describe them now; what explore starts from."""
        return configure_tools(self.config.tools)

    def for_stage(self) -> StageContext:
        """Return a context for one stage, without the notes of others.

        Tools that have been read are handed over and not kept: they are read once, and what
        the stage frees of them is free.
        """
        fresh = StageContext(
            config=self.config,
            store=self.store,
            progress=self.progress,
            show=self.show,
            live=self.live,
            again=self.again,
        )
        name = "configured_tools"  # as cached_property keeps it
        if name in self.__dict__:
            fresh.__dict__[name] = self.__dict__.pop(name)
        return fresh

    @cached_property
    def prompts(self) -> PromptSet:
        """The shipped prompt templates."""
        return load_prompts()


StageBody = Callable[[StageContext], dict[str, Any]]


def read_specs(store: RunStore) -> dict[str, ToolSpec]:
    """Return the tools as explore noted them, by name."""
    stored = store.read_json(layout.TOOLS)
    return {item["name"]: ToolSpec.model_validate(item) for item in stored}


def load_prompts() -> PromptSet:
    """Read the prompt files that ship with the project."""
    folder = resource_folder("prompts")
    templates = {path.stem: path.read_text("utf-8") for path in sorted(folder.glob("*.txt"))}
    shipped = REQUIRED_PROMPTS | NATIVE_PROMPTS | TEST_PROMPTS | PLAN_PROMPTS
    missing = sorted(shipped - templates.keys())
    if missing:
        raise ConfigError(f"the prompts folder lacks {missing[0]!r}.txt; install ste-ray again")
    return PromptSet(templates)

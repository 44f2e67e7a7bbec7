"""The episodes of each tool, and what each remembers: for exploring and for replaying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ste_ray.config import Config
from ste_ray.core import layout
from ste_ray.core.coverage.findings import Coverage, Findings, Unvisited
from ste_ray.core.effects import Flow
from ste_ray.core.exploring.context import TrialSettings
from ste_ray.core.exploring.episode import episode_flow, episode_id
from ste_ray.core.exploring.memory import MemoryEntry
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Episode
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.store.artifacts import RunStore


def trial_settings(config: Config) -> TrialSettings:
    """The part of the explore section that the pure flows know."""
    section = config.explore.model_dump(include=set(TrialSettings.model_fields))
    keeps = bool(config.llm.keep_reasoning)
    return TrialSettings.model_validate({**section, "keep_reasoning": keeps})


def earlier_memory(store: RunStore) -> dict[str, tuple[MemoryEntry, ...]]:
    """Return what was tried of each tool before this run explores it; of most runs nothing."""
    if not store.exists(layout.EARLIER_MEMORY):
        return {}
    return {
        tool: tuple(MemoryEntry.model_validate(one) for one in entries)
        for tool, entries in store.read_json(layout.EARLIER_MEMORY).items()
    }


@dataclass(frozen=True)
class EpisodePlan:
    """The episodes of any tool.

    Attributes:
        prompts: the prompt templates.
        settings: how trials are run.
        fingerprint: of the configuration, part of all identities.
        num_episodes: of each tool, in the fixed plan.
        num_trials: of each episode.
        adaptive: whether what calls visit decides who gets episodes.
        suggests: whether it is told to the explorer.
        width: episodes of one tool that are explored at the same time.
        earlier: what was tried of tools before, which all their episodes remember.
    """

    prompts: PromptSet
    settings: TrialSettings
    fingerprint: str
    num_episodes: int
    num_trials: int
    width: int
    adaptive: bool = False
    suggests: bool = False
    earlier: Mapping[str, tuple[MemoryEntry, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        config: Config,
        prompts: PromptSet,
        earlier: Mapping[str, tuple[MemoryEntry, ...]] | None = None,
    ) -> EpisodePlan:
        """Return the plan that a configuration makes."""
        return cls(
            prompts=prompts,
            settings=trial_settings(config),
            fingerprint=config.stage_fingerprint("explore"),
            num_episodes=config.explore.episodes_per_tool,
            num_trials=config.explore.trials_per_episode,
            width=config.explore.parallel_episodes,
            adaptive=config.explore.plan == "adaptive",
            suggests=config.explore.suggests,
            earlier=earlier or {},
        )

    def num_remembered(self, number: int) -> int:
        """Return how many of the tool's first episodes an episode remembers.

        It is decided by numbers, not by who was faster, so that it can be replayed.
        """
        return max(0, number - self.width + 1)

    def scope(self, spec: ToolSpec, number: int) -> str:
        """Return the identity of an episode, also in the journal."""
        return episode_id(spec, self.fingerprint, number)

    def coverage(self, spec: ToolSpec) -> Coverage | None:
        """Return what reads the calls of a tool; None: nobody wants to know."""
        return Coverage(spec.parameters) if self.adaptive else None

    def flow(
        self,
        spec: ToolSpec,
        number: int,
        remembered: Sequence[Findings],
        coverage: Coverage | None = None,
    ) -> Flow[Episode]:
        """Return an episode; ``remembered`` is of its first ``num_remembered`` ones."""
        suggests = coverage if self.suggests else None
        own = tuple(entry for one in remembered for entry in one.memory)
        return episode_flow(
            spec,
            self.prompts,
            self.settings,
            number=number,
            num_trials=self.num_trials,
            memory=(*self.earlier.get(spec.name, ()), *own),
            unvisited=Unvisited(suggests, remembered) if suggests else None,
            memory_episodes=self.num_remembered(number),
            config_fingerprint=self.fingerprint,
        )

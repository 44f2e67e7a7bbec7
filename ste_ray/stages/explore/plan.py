"""The episodes of each tool, and what each remembers: for exploring and for replaying."""

from __future__ import annotations

from dataclasses import dataclass

from ste_ray.config import Config
from ste_ray.core.effects import Flow
from ste_ray.core.exploring.context import TrialSettings
from ste_ray.core.exploring.episode import episode_flow, episode_id
from ste_ray.core.exploring.memory import MemoryEntry
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Episode
from ste_ray.core.tool_specs import ToolSpec


def trial_settings(config: Config) -> TrialSettings:
    """The part of the explore section that the pure flows know."""
    section = config.explore.model_dump(include=set(TrialSettings.model_fields))
    keeps = bool(config.llm.keep_reasoning)
    return TrialSettings.model_validate({**section, "keep_reasoning": keeps})


@dataclass(frozen=True)
class EpisodePlan:
    """The episodes of any tool.

    Attributes:
        prompts: the prompt templates.
        settings: how trials are run.
        fingerprint: of the configuration, part of all identities.
        num_episodes: of each tool.
        num_trials: of each episode.
        width: episodes of one tool that are explored at the same time.
    """

    prompts: PromptSet
    settings: TrialSettings
    fingerprint: str
    num_episodes: int
    num_trials: int
    width: int

    @classmethod
    def of(cls, config: Config, prompts: PromptSet) -> EpisodePlan:
        """Return the plan that a configuration makes."""
        return cls(
            prompts=prompts,
            settings=trial_settings(config),
            fingerprint=config.stage_fingerprint("explore"),
            num_episodes=config.explore.episodes_per_tool,
            num_trials=config.explore.trials_per_episode,
            width=config.explore.parallel_episodes,
        )

    def num_remembered(self, number: int) -> int:
        """Return how many of the tool's first episodes an episode remembers.

        It is decided by numbers, not by who was faster, so that it can be replayed.
        """
        return max(0, number - self.width + 1)

    def scope(self, spec: ToolSpec, number: int) -> str:
        """Return the identity of an episode, also in the journal."""
        return episode_id(spec, self.fingerprint, number)

    def flow(self, spec: ToolSpec, number: int, memory: tuple[MemoryEntry, ...]) -> Flow[Episode]:
        """Return an episode; ``memory`` is of its first ``num_remembered`` ones."""
        return episode_flow(
            spec,
            self.prompts,
            self.settings,
            number=number,
            num_trials=self.num_trials,
            memory=memory,
            memory_episodes=self.num_remembered(number),
            config_fingerprint=self.fingerprint,
        )

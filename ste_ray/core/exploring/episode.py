"""An episode: several trials of one tool in one conversation, the short-term memory."""

from __future__ import annotations

from ste_ray.core.coverage.findings import Unvisited
from ste_ray.core.effects import Flow
from ste_ray.core.exploring.context import TrialContext, TrialSettings
from ste_ray.core.exploring.conversation import Conversation
from ste_ray.core.exploring.memory import MemoryEntry
from ste_ray.core.exploring.trial import trial_flow
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Episode, Trial, fingerprint
from ste_ray.core.tool_specs import ToolSpec


def episode_id(spec: ToolSpec, config_fingerprint: str, number: int) -> str:
    """Return the identity of an episode: tool, configuration and number, never model text."""
    return fingerprint("episode", spec.fingerprint, config_fingerprint, number)


def episode_flow(
    spec: ToolSpec,
    prompts: PromptSet,
    settings: TrialSettings,
    *,
    number: int,
    num_trials: int,
    memory: tuple[MemoryEntry, ...],
    config_fingerprint: str,
    memory_episodes: int = 0,
    unvisited: Unvisited | None = None,
) -> Flow[Episode]:
    """Run ``num_trials`` trials; a reply that was cut off by the endpoint ends the episode.

    Args:
        spec: the tool to explore.
        prompts: the prompt templates.
        settings: how trials are run.
        number: the episode's number among those of the tool, from 0.
        num_trials: trials in the conversation.
        memory: what the tool's earlier episodes tried.
        config_fingerprint: identity of the configuration, part of all ids.
        memory_episodes: how many of the tool's first episodes ``memory`` is of, for the record.
        unvisited: of what the tool's schema allows, what each trial is told; None: nothing.
    """
    talk = Conversation(account=spec.name, keep_reasoning=settings.keep_reasoning)
    trials: list[Trial] = []
    own_id = episode_id(spec, config_fingerprint, number)
    for trial_number in range(num_trials):
        context = TrialContext(
            spec=spec,
            prompts=prompts,
            settings=settings,
            episode_id=own_id,
            episode_number=number,
            trial_number=trial_number,
            memory=memory,
            memory_episodes=memory_episodes,
            unvisited=unvisited.suggested() if unvisited else (),
        )
        trial = yield from trial_flow(context, talk)
        trials.append(trial)
        if unvisited:
            unvisited.note(trial)
        if trial.query:
            memory = (*memory, MemoryEntry(query=trial.query, solved=trial.solved))
        if talk.cut_off or trial.outcome == "interrupted":
            break
    return Episode(
        episode_id=own_id,
        tool=spec.name,
        tool_fingerprint=spec.fingerprint,
        episode_number=number,
        messages=tuple(talk.messages),
        trials=tuple(trials),
        models=tuple(talk.models),
    )

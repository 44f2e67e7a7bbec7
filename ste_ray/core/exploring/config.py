"""The section ``explore``."""

from __future__ import annotations

from typing import ClassVar, Literal

from ste_ray.core.section import Section, key, operational


class ExploreConfig(Section):
    """Simulated trial and error; the defaults are the study's."""

    retired: ClassVar = {
        "flush_seconds": "is now 'flush_seconds', one for all stages",
    }

    protocol: Literal["text", "native"] = key(
        "text",
        "How tools are called: as a text that names them (the study's), or by the endpoint's own "
        "tool calling.",
        unless_default=True,
    )
    plan: Literal["fixed", "adaptive"] = key(
        "fixed",
        "Which tools get the episodes: each as many, or, of as many in all, more where calls still "
        "visit new branches of the schema, and none where they no longer do.",
        unless_default=True,
    )
    patience: int = key(
        2,
        "Episodes without anything new after which the adaptive plan closes a tool; so many every "
        "tool gets.",
        ge=1,
        unless_default=True,
    )
    suggest_unvisited: bool = key(
        True,
        "Tell the explorer in the adaptive plan which branches of the schema no call has visited; "
        "false: an ablation.",
        unless_default=True,
    )
    confused_in: str = key(
        "",
        "Evaluated run; the adaptive plan gives the tools confused there more; empty: none.",
        unless_empty=True,
    )
    episodes_per_tool: int = key(
        15, "Episodes of each tool; in the adaptive plan, of each on average at most.", ge=1
    )
    trials_per_episode: int = key(4, "Trials of an episode, in one conversation.", ge=1)
    max_turns: int = key(4, "Observations that a trial may see.", ge=1)
    temperature: float = key(1.0, "Sampling temperature of the explorer.", ge=0)
    max_tokens: int = key(360, "Tokens of a reply of the explorer at most.", ge=1)
    observation_chars: int = key(
        2048, "Characters of an observation that the explorer sees; the rest is cut.", ge=16
    )
    execution_feedback: bool = key(True, "Show what a call returned; false: an ablation.")
    short_term_memory: bool = key(
        True, "Show the earlier trials of the episode; false: an ablation."
    )
    long_term_memory: bool = key(
        True, "Show the earlier requests of the tool, solved or not; false: an ablation."
    )
    reflection: bool = key(
        True, "Ask at the end of a trial whether it was solved; false: an ablation."
    )
    parallel_episodes: int = key(
        1, "Episodes of a tool at once: more are faster, and know less of each other.", ge=1
    )
    num_explorers: int = operational(2, "Explorer processes.", ge=1)
    cpus_per_explorer: float = operational(0.25, "CPUs that Ray reserves for an explorer.", ge=0)
    tools_per_explorer: int = operational(256, "Tools that an explorer works on at once.", ge=1)
    lease_seconds: float = operational(
        30.0,
        "Seconds of silence after which an explorer counts as lost and its tools are handed on.",
        gt=0,
    )
    stop_when_alike: float = operational(
        0.9,
        "End the run once this share of its trials came to nothing for one cause that lies in the "
        "replies, such as a limit of tokens; 0: never.",
        ge=0,
        le=1,
    )

    @property
    def suggests(self) -> bool:
        """Whether prompts say what is not visited."""
        return self.plan == "adaptive" and self.suggest_unvisited

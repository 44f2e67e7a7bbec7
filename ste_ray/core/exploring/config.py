"""The section ``explore``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ste_ray.core.section import Section, operational


class ExploreConfig(Section):
    """Simulated trial and error; the defaults are the study's."""

    retired: ClassVar = {
        "flush_seconds": "is now 'flush_seconds', one for all stages",
    }

    episodes_per_tool: int = Field(default=15, ge=1)
    trials_per_episode: int = Field(default=4, ge=1)
    max_turns: int = Field(default=4, ge=1)  # observations a trial may see
    temperature: float = Field(default=1.0, ge=0)
    max_tokens: int = Field(default=360, ge=1)
    observation_chars: int = Field(default=2048, ge=16)
    execution_feedback: bool = True
    short_term_memory: bool = True
    long_term_memory: bool = True
    reflection: bool = True
    parallel_episodes: int = Field(default=1, ge=1)  # of one tool; more: older memory, more speed
    num_explorers: int = operational(2, ge=1)
    cpus_per_explorer: float = operational(0.25, ge=0)  # what Ray reserves for one
    tools_per_explorer: int = operational(256, ge=1)  # tools an explorer works on at once
    lease_seconds: float = operational(30.0, gt=0)  # an explorer silent for so long counts as lost
    # end the run once this share of its trials came to nothing for one cause that lies in the
    # replies, such as a limit of tokens; 0: never
    stop_when_alike: float = operational(0.9, ge=0, le=1)

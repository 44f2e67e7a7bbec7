"""The stages of a run, and the roles that each may ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line reads the names of the stages before anything else
    from ste_ray.core.effects import Role

# In their order; the continual stage runs some of them once a round.
STAGES = ("explore", "prepare", "retrieve", "train", "infer", "evaluate")
# Those that make what models are trained and tested on, which runs can share.
DATA_STAGES = ("explore", "prepare", "retrieve")
# The models of roles that a stage does not ask are none of its business.
STAGE_ROLES: dict[str, tuple[Role, ...]] = {
    "explore": ("explorer", "tool_simulator"),
    "prepare": ("judge", "paraphraser"),
    "infer": ("assistant",),
    "evaluate": ("scorer",),
}

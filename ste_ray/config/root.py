"""The whole configuration of a run: the sections, each of which lives beside what it configures.

Each stage reads its own section plus the shared ``seed``, ``tools`` and ``llm``.
"""

from __future__ import annotations

from typing import Any, get_args

from ste_ray.core.effects import Role
from ste_ray.core.exploring.config import ExploreConfig
from ste_ray.core.limits.config import BudgetConfig
from ste_ray.core.preparing.config import PrepareConfig
from ste_ray.core.records import fingerprint
from ste_ray.core.scoring.config import ContinualConfig, EvaluateConfig
from ste_ray.core.section import Section
from ste_ray.core.stages import STAGE_ROLES
from ste_ray.generation.config import InferConfig
from ste_ray.llm.config import LLMConfig
from ste_ray.retrieval.config import RetrieveConfig
from ste_ray.tools.config import ToolsConfig
from ste_ray.training.config import TrainConfig


class Config(Section):
    """The whole configuration of a run."""

    seed: int = 0
    tools: ToolsConfig = ToolsConfig()
    llm: LLMConfig = LLMConfig()
    budget: BudgetConfig = BudgetConfig()
    explore: ExploreConfig = ExploreConfig()
    prepare: PrepareConfig = PrepareConfig()
    retrieve: RetrieveConfig = RetrieveConfig()
    train: TrainConfig = TrainConfig()
    infer: InferConfig = InferConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    continual: ContinualConfig = ContinualConfig()

    def stage_roles(self, stage: str) -> tuple[Role, ...]:
        """The roles that ``stage`` asks as it is configured."""
        wanted = {
            "infer": any(name.startswith("endpoint/") for name in self.infer.settings),
            "evaluate": self.evaluate.judge.enabled,
        }
        return STAGE_ROLES.get(stage, ()) if wanted.get(stage, True) else ()

    def stage_fields(self, stage: str) -> dict[str, Any]:
        """What decides the result of ``stage``: its own section and the shared ones it reads."""
        section: Section = getattr(self, stage)
        fields = {"seed": self.seed, stage: section.result_fields()}
        if stage == "explore":
            fields["tools"] = self.tools.result_fields()
        if stage == "continual":
            for name in ("train", "retrieve", "infer", "evaluate"):
                section = getattr(self, name)
                fields[name] = section.result_fields()
        if stage == "infer" and self.infer.execute:
            fields["tools"] = self.tools.result_fields()
        if roles := self.stage_roles(stage):
            others = {role for role in get_args(Role) if role not in roles}
            llm = self.llm.result_fields()
            fields["llm"] = {name: value for name, value in llm.items() if name not in others}
        return fields

    def stage_fingerprint(self, stage: str) -> str:
        """Identity of what ``stage`` is asked to produce."""
        return fingerprint(self.stage_fields(stage))

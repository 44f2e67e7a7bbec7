"""The whole configuration of a run: the sections, each of which lives beside what it configures.

Each stage reads its own section plus the shared ``seed``, ``tools`` and ``llm``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic.fields import FieldInfo

from ste_ray.core.effects import Role
from ste_ray.core.exploring.config import ExploreConfig
from ste_ray.core.limits.config import BudgetConfig
from ste_ray.core.preparing.config import PrepareConfig
from ste_ray.core.records import fingerprint
from ste_ray.core.scoring.config import ContinualConfig, EvaluateConfig
from ste_ray.core.section import Section, key, operational
from ste_ray.core.stages import STAGE_ROLES
from ste_ray.generation.config import InferConfig
from ste_ray.llm.config import LLMConfig
from ste_ray.retrieval.config import RetrieveConfig
from ste_ray.tools.config import ToolsConfig
from ste_ray.training.config import TrainConfig


class Config(Section):
    """The whole configuration of a run."""

    seed: int = key(0, "Seed of everything that is drawn by chance.")
    trust_remote_code: bool = key(False, "Run Python code that comes with a model; read it before.")
    flush_seconds: float = operational(
        5.0, "Seconds until an answer is stored: so much a crash can lose.", gt=0
    )
    track: tuple[Literal["wandb", "mlflow", "otel"], ...] = operational(
        (),
        "Where figures go besides the run; empty: nowhere. `wandb` and `mlflow` get those of each "
        "stage, `otel` spans of an exploration. None of them can end a stage.",
    )
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

    def stage_roles(self, stage: str, *, simulates: bool = True) -> tuple[Role, ...]:
        """The roles that ``stage`` asks as it is configured.

        Args:
            stage: its name.
            simulates: whether a model plays some of the tools; only the tool files tell.
        """
        wanted: dict[Role, bool] = {
            "tool_simulator": simulates,
            "judge": self.prepare.judge or bool(self.prepare.tests.written),
            "paraphraser": self.prepare.max_paraphrases > 0 or bool(self.prepare.tests.written),
            "assistant": any(name.startswith("endpoint/") for name in self.infer.settings),
            "scorer": self.evaluate.judge.enabled,
        }
        return tuple(role for role in STAGE_ROLES.get(stage, ()) if wanted.get(role, True))

    def stage_fields(self, stage: str) -> dict[str, Any]:
        """What decides the result of ``stage``: its own section and the shared ones it reads."""
        fields = {"seed": self.seed, stage: self._section_fields(stage)}
        if stage == "explore":
            fields["tools"] = self.tools.result_fields()
        if stage == "continual":
            for name in ("train", "retrieve", "infer", "evaluate"):
                fields[name] = self._section_fields(name)
        executes = {
            "prepare": bool(self.prepare.tests.written),
            "infer": self.infer.execute,
            "evaluate": self.evaluate.execute,
        }
        if executes.get(stage):
            fields["tools"] = self.tools.result_fields()
        if roles := self.stage_roles(stage):
            others = {role for role in get_args(Role) if role not in roles}
            llm = self.llm.result_fields()
            fields["llm"] = {name: value for name, value in llm.items() if name not in others}
        return fields

    def _section_fields(self, name: str) -> dict[str, Any]:
        """The result fields of a section, with the shared key where its stage loads models."""
        section: Section = getattr(self, name)
        fields = section.result_fields()
        loads_models = {"train": fields.get("model"), "infer": fields}.get(name)
        if loads_models is not None:
            loads_models["trust_remote_code"] = self.trust_remote_code
        return fields

    def stage_fingerprint(self, stage: str) -> str:
        """Identity of what ``stage`` is asked to produce."""
        return fingerprint(self.stage_fields(stage))


def sections(
    section: type[Section] = Config, path: str = ""
) -> Iterator[tuple[str, type[Section]]]:
    """Yield every section with its path, such as ``train.model``; the root's is empty."""
    yield path, section
    for name, field in section.model_fields.items():
        if (inner := inner_section(field)) is not None:
            yield from sections(inner, f"{path}.{name}".lstrip("."))


def config_keys() -> Iterator[tuple[str, FieldInfo]]:
    """Yield every key, such as ``explore.max_turns``, with its field."""
    for path, section in sections():
        for name, field in section.model_fields.items():
            if inner_section(field) is None:
                yield f"{path}.{name}".lstrip("."), field


def inner_section(field: FieldInfo) -> type[Section] | None:
    """Return the section that a field is; None: it is a key."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None

"""What is known of a tool: what a model is told of it, and how it is called."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_serializer

from ste_ray.core.executor_specs import ExecutorField, ExecutorSpec
from ste_ray.core.records import Record, fingerprint
from ste_ray.core.texts.safe_names import safe_name

Effect = Literal["read_only", "idempotent", "writes", "destructive", "unknown"]


class ToolExample(Record):
    """An example call of a tool, run by the tool's own checks."""

    arguments: dict[str, Any]
    expect_error: bool = False


_NOT_IDENTITY = {"examples", "family", "requests_per_minute", "concurrency", "secrets"}


class ToolSpec(Record):
    """What a model is told about a tool, and how the tool is called.

    ``parameters`` is a JSON Schema of type object. ``executor`` is read from ``kind`` and the
    fields of that kind, for example ``{"kind": "python", "target": "package.module:function"}``,
    and stored as it was written. ``secrets`` are names only.
    """

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    parameters: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    executor: ExecutorField
    secrets: tuple[str, ...] = ()
    family: str = ""
    effect: Effect = "unknown"
    lenient: bool = False
    timeout_seconds: float = Field(default=10.0, gt=0)
    max_output_chars: int = Field(default=20_000, gt=0)
    requests_per_minute: float | None = Field(default=None, gt=0)  # None: no limit
    concurrency: int | None = Field(default=None, ge=1)  # calls at once; None: no limit
    examples: tuple[ToolExample, ...] = ()

    @field_serializer("executor")
    def _executor_as_written(self, executor: ExecutorSpec) -> dict[str, Any]:
        return executor.as_written()

    @property
    def kind(self) -> str:
        """The kind of its executor."""
        return self.executor.kind

    def changed(self, **fields: Any) -> ToolSpec:
        """Return a tool with other values of some fields, which are not checked."""
        # Not ``model_copy``, which would take the fingerprint of this tool along.
        return ToolSpec.model_construct(
            **{name: getattr(self, name) for name in ToolSpec.model_fields} | fields
        )

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the tool as the model sees and calls it, not of how fast that may be."""
        return fingerprint(self.model_dump(exclude=_NOT_IDENTITY))

    @property
    def repeatable(self) -> bool:
        """Whether a call that was made, or may have been made, can be made again."""
        return self.effect in ("read_only", "idempotent")

    @cached_property
    def safe_name(self) -> str:
        """The name where only letters, digits, _ and - may stand; see ``safe_names``."""
        return safe_name(self.name)

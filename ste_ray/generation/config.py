"""The section ``infer``."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ste_ray.core.section import Section, operational
from ste_ray.core.template_options import TemplateOptions


class InferConfig(Section):
    """Batch inference on the test split, in one or more settings.

    A setting is ``MODEL/PROMPT``. The model is ``base`` (before training), ``tuned`` (after it),
    ``endpoint`` (``llm.assistant``) or a name of ``models``. The prompt is ``plain`` (all tools in
    it), ``retrieved`` (candidate tools), ``icl`` (with demonstrations too), ``toolken`` (none: the
    model has learned them) or ``dialog`` (the messages that the test data bring).
    """

    retired: ClassVar = {
        "trust_remote_code": "is now 'trust_remote_code', one for all models",
        "flush_seconds": "is now 'flush_seconds', one for all stages",
    }

    settings: tuple[str, ...] = ("base/retrieved", "base/icl", "tuned/toolken")
    models: dict[str, str] = Field(default_factory=dict)  # folder, hub name or URI in a run
    temperature: float = Field(default=0.0, ge=0)  # 0: greedy
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(default=128, ge=1)
    constrained: bool = False  # local models can write nothing but calls that fit the schemas
    quantization: Literal["none", "int8"] = "none"  # weights of local models
    # of local models' chat templates, such as {enable_thinking: false}
    template_options: TemplateOptions = Field(default_factory=dict)
    execute: bool = False  # call the tool that was chosen and let the model answer
    batch_size: int = operational(32, ge=1)
    # of a batch, prompts and answers; null: 16,384 on a CPU, any number on a GPU
    batch_tokens: int | None = operational(None, ge=1)
    stall_seconds: float = operational(3600.0, gt=0)  # without a token, until a worker is stuck
    num_workers: int = operational(1, ge=1)
    threads_per_worker: int = operational(1, ge=1)  # CPU threads of one model
    use_gpu: bool = operational(False)
    gpus_per_worker: int = operational(1, ge=1)  # more: layers are spread over them

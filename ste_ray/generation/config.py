"""The section ``infer``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ste_ray.core.inferring.perturbing import Perturbation
from ste_ray.core.section import Section, key, operational
from ste_ray.core.template_options import TemplateOptions


class InferConfig(Section):
    """Batch inference on the test split, in one or more settings.

    A setting is ``MODEL/PROMPT``. The model is ``base`` (before training), ``tuned`` (after it),
    ``endpoint`` (``llm.assistant``) or a name of ``models``. The prompt is ``plain`` (all tools in
    it), ``retrieved`` (candidate tools), ``icl`` (with demonstrations too), ``toolken`` (none: the
    model has learned them) or ``dialog`` (the messages that the test data bring). By native tool
    calling, an endpoint's own or that of a local model's chat template, the model is offered
    candidates (``native``) or all tools (``native_plain``), or shown demonstrations too, as earlier
    turns (``native_icl``).
    """

    retired: ClassVar = {
        "trust_remote_code": "is now 'trust_remote_code', one for all models",
        "flush_seconds": "is now 'flush_seconds', one for all stages",
    }

    settings: tuple[str, ...] = key(
        ("base/retrieved", "base/icl", "tuned/toolken"),
        "The settings that the test requests are answered in, each MODEL/PROMPT.",
    )
    models: dict[str, str] = key(
        {}, "Further models by a name for settings: a folder, a hub name, or a URI in a run."
    )
    temperature: float = key(0.0, "Sampling temperature; 0: greedy.", ge=0)
    top_p: float = key(1.0, "Share of probability that tokens are drawn from.", gt=0, le=1)
    max_new_tokens: int = key(128, "Tokens of an answer, reasoning included.", ge=1)
    constrained: bool = key(
        False, "Let local models write nothing but calls that fit the tools' schemas."
    )
    quantization: Literal["none", "int8"] = key("none", "Weights of local models in eight bits.")
    precision: Literal["auto", "fp32", "bf16"] = key(
        "auto",
        "Numbers that local models compute with; auto: as their weights are stored on a GPU, fp32 "
        "on a CPU.",
        unless_default=True,
    )
    template_options: TemplateOptions = key(
        {},
        "Options of local models' chat templates, such as {enable_thinking: false}; empty: those "
        "that a model was trained with.",
    )
    tool_choice: Literal["auto", "required"] = key(
        "auto",
        "Whether a model that calls natively must call a tool; of local models it needs "
        "constrained.",
        unless_default=True,
    )
    repeats: int = key(
        1,
        "How often each test request is asked in each setting: more than once tells how far "
        "answers change by chance, at a temperature above 0.",
        ge=1,
        le=100,
        unless_default=True,
    )
    sweep: tuple[Annotated[int, Field(ge=1)], ...] = key(
        (),
        "Numbers of tools to show in prompts besides what settings show, such as [5, 20, 100]: "
        "the right one among others; empty: none.",
        unless_default=True,
    )
    perturb: tuple[Perturbation, ...] = key(
        (),
        "Ways to describe tools otherwise in prompts, each beside the settings as they are; empty: "
        "none.",
        unless_default=True,
    )
    catalogue: tuple[str, ...] = key(
        ("builtin", "general"),
        "Tool files whose descriptions fill prompts where the run has fewer tools than sweep asks "
        "for: files, folders, or names of shipped sets.",
        unless_default=True,
    )
    execute: bool | tuple[str, ...] = key(
        False,
        "Execute the call that was chosen, and let the model answer; a list: in these settings.",
    )
    batch_size: int = operational(32, "Requests of a batch at most.", ge=1)
    batch_tokens: int | None = operational(
        None,
        "Tokens of a batch at most, prompts and answers; null: 16,384 on a CPU, any number on a "
        "GPU.",
        ge=1,
    )
    stall_seconds: float = operational(
        3600.0, "Seconds without a token after which a worker counts as stuck.", gt=0
    )
    num_workers: int = operational(1, "Worker processes, each with a model.", ge=1)
    threads_per_worker: int = operational(1, "CPU threads of a worker.", ge=1)
    use_gpu: bool = operational(False, "Decode on GPUs.")
    gpus_per_worker: int = operational(
        1, "GPUs of a worker; more than one: the layers are spread over them.", ge=1
    )

    def executes(self, setting: str) -> bool:
        """Whether the calls chosen in a setting are executed."""
        return self.execute if isinstance(self.execute, bool) else setting in self.execute

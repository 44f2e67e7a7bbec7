"""The section ``train``."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ste_ray.core import layout
from ste_ray.core.section import Section, operational
from ste_ray.core.template_options import TemplateOptions


class ModelConfig(Section):
    """The base model: a folder, hub name or run, or a small Llama built from these numbers."""

    retired: ClassVar = {
        "trust_remote_code": "is now 'trust_remote_code', one for all models",
    }

    base: str = ""  # empty: built from the numbers below, with a tokenizer trained on the data
    vocab_size: int = Field(default=512, ge=300)
    hidden_size: int = Field(default=128, ge=8)
    num_layers: int = Field(default=2, ge=1)
    num_heads: int = Field(default=4, ge=1)
    max_positions: int = Field(default=2048, ge=64)


class LoraConfig(Section):
    """Low-rank adapters of all linear layers, for ``train.mode=lora``."""

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class TrainConfig(Section):
    """Fine-tuning with toolkens under FSDP2 on Ray Train."""

    retired: ClassVar = {
        "log_every": "was dropped: the first, the last and every tenth step get a line, and "
        f"{layout.TRAIN_METRICS} holds them all",
        "keep_checkpoints": "was dropped: the last two are kept, to go on from",
        "max_failures": "was dropped: a training that fails a fourth time without a new checkpoint "
        "ends, and goes on when the stage is run again",
    }

    model: ModelConfig = ModelConfig()
    # what is trained: all weights; adapters and the toolkens' rows; the toolkens' rows alone
    mode: Literal["full", "lora", "toolkens"] = "full"
    lora: LoraConfig = LoraConfig()
    num_epochs: float = Field(default=2.0, gt=0)
    max_steps: int = Field(default=0, ge=0)  # 0: given by num_epochs
    examples_per_step: int = Field(default=64, ge=1)
    max_tokens: int = Field(default=2048, ge=16)
    too_long: Literal["skip", "truncate"] = "skip"  # truncate: the dialog from its left
    learning_rate: float = Field(default=2e-5, gt=0)
    warmup_fraction: float = Field(default=0.03, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    # auto: fp32 on the CPU; on a GPU mixed: bf16 arithmetic on weights kept in fp32. bf16: all bf16
    precision: Literal["auto", "fp32", "mixed", "bf16"] = "auto"
    toolken_init: Literal["name", "description", "mean"] = "name"
    retire_tools: tuple[str, ...] = ()  # toolkens of the base model to take out of use
    # of the chat template, such as {enable_thinking: false}; the trained model keeps them
    template_options: TemplateOptions = Field(default_factory=dict)
    # auto: rows packed one after another on a GPU, rows of similar length together on the CPU
    batching: Literal["auto", "grouped", "packed"] = operational("auto")
    batch_tokens: int = operational(4096, ge=64)  # tokens of one forward pass, with padding
    activation_checkpointing: bool = operational(False)
    compile: bool = operational(False)
    checkpoint_seconds: float = operational(300.0, ge=0)  # 0: after every step
    num_workers: int = operational(2, ge=1)
    min_workers: int = operational(0, ge=0)  # go on with as few when nodes are lost; 0: all
    use_gpu: bool = operational(False)

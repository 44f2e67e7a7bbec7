"""The section ``train``."""

from __future__ import annotations

from typing import ClassVar, Literal

from ste_ray.core import layout
from ste_ray.core.section import Section, key, operational
from ste_ray.core.template_options import TemplateOptions


class ModelConfig(Section):
    """The base model: a folder, hub name or run, or a small Llama built from these numbers."""

    retired: ClassVar = {
        "trust_remote_code": "is now 'trust_remote_code', one for all models",
    }

    base: str = key(
        "",
        "A folder, a hub name, or the URI of a model in a run; empty: a small Llama with random "
        "weights, built from the numbers below, with a tokenizer trained on the data.",
    )
    vocab_size: int = key(512, "Tokens of its vocabulary.", ge=300)
    hidden_size: int = key(128, "Width of its layers.", ge=8)
    num_layers: int = key(2, "Number of its layers.", ge=1)
    num_heads: int = key(4, "Attention heads of a layer.", ge=1)
    max_positions: int = key(2048, "Tokens that it can see.", ge=64)


class LoraConfig(Section):
    """Low-rank adapters of all linear layers, for ``train.mode=lora``."""

    rank: int = key(16, "Rank of the adapters.", ge=1)
    alpha: float = key(32.0, "Weight of the adapters, divided by the rank.", gt=0)
    dropout: float = key(0.0, "Share of an adapter's inputs that is dropped.", ge=0, lt=1)


class TrainConfig(Section):
    """Fine-tuning with toolkens, or with native calls, under FSDP2 on Ray Train."""

    retired: ClassVar = {
        "log_every": "was dropped: the first, the last and every tenth step get a line, and "
        f"{layout.TRAIN_METRICS} holds them all",
        "keep_checkpoints": "was dropped: the last two are kept, to go on from",
        "max_failures": "was dropped: a training that fails a fourth time without a new checkpoint "
        "ends, and goes on when the stage is run again",
    }

    model: ModelConfig = ModelConfig()
    mode: Literal["full", "lora", "toolkens"] = key(
        "full",
        "What is trained: all weights; adapters and the toolkens' rows; the toolkens' rows alone.",
    )
    lora: LoraConfig = LoraConfig()
    format: Literal["toolken", "native"] = key(
        "toolken",
        "How calls are trained: by one new token for each tool and no tools in the prompt; or in "
        "the form of the base's chat template, with tools in the prompt and no new tokens.",
        unless_default=True,
    )
    tools_per_row: int = key(
        8,
        "Tools that a native row offers: the right one, or the one nearest to a request that needs "
        "no call, among tools that are like each other; 0: all.",
        ge=0,
        unless_default=True,
    )
    num_epochs: float = key(2.0, "Passes over the training rows.", gt=0)
    max_steps: int = key(0, "Optimiser steps; 0: as many as num_epochs gives.", ge=0)
    examples_per_step: int = key(64, "Rows of an optimiser step, over all workers.", ge=1)
    max_tokens: int = key(2048, "Tokens of a row at most.", ge=16)
    too_long: Literal["skip", "truncate"] = key(
        "skip", "Longer rows are left out and counted, or lose the beginning of their dialog."
    )
    no_call_tokens: int = key(
        0,
        "Tokens trained of the answer to a general request that needs no call: its beginning says "
        "that no tool is called, while all of it would outweigh the calls of a step; 0: all.",
        ge=0,
        unless_empty=True,
    )
    learning_rate: float = key(2e-5, "Learning rate at the end of the warm-up.", gt=0)
    warmup_fraction: float = key(0.03, "Share of the steps in which it rises.", ge=0, lt=1)
    weight_decay: float = key(0.0, "Weight decay of AdamW.", ge=0)
    max_grad_norm: float = key(1.0, "Norm to which gradients are clipped.", gt=0)
    precision: Literal["auto", "fp32", "mixed", "bf16"] = key(
        "auto",
        "fp32; mixed: bf16 arithmetic on weights in fp32; bf16: weights and optimiser too; auto: "
        "mixed on a GPU, fp32 on a CPU.",
    )
    toolken_init: Literal["name", "description", "mean"] = key(
        "name",
        "A new toolken's row begins as the mean over the tokens of the tool's name or description, "
        "or over all rows.",
    )
    retire_tools: tuple[str, ...] = key(
        (), "Toolkens of the base model to take out of use; empty: none."
    )
    template_options: TemplateOptions = key(
        {},
        "Options of the chat template, such as {enable_thinking: false}, which the trained model "
        "keeps; empty: the template's own.",
    )
    batching: Literal["auto", "grouped", "packed"] = operational(
        "auto",
        "packed: rows one after another in a row, on a CPU behind the beginning that they share, "
        "which is computed once; grouped: rows of similar length; auto: packed, but grouped where "
        "the model cannot be packed, and on a CPU without rotary positions, with dropout or with "
        "compiled layers.",
    )
    batch_tokens: int = operational(
        4096, "Tokens of one forward pass of a worker, padding included.", ge=64
    )
    activation_checkpointing: bool = operational(
        False, "Compute activations a second time instead of keeping them: less memory, slower."
    )
    compile: bool = operational(False, "Compile the layers; it needs a C++ compiler.")
    checkpoint_seconds: float = operational(
        300.0, "Seconds between checkpoints; 0: one after every step.", ge=0
    )
    num_workers: int = operational(2, "Worker processes, each with one GPU if GPUs are used.", ge=1)
    threads_per_worker: int = operational(
        1,
        "CPUs of a worker, and its threads where no GPU is used; on a cluster with fewer CPUs, "
        "workers share them.",
        ge=1,
    )
    min_workers: int = operational(
        0, "Go on with as few when nodes are lost; 0: only with num_workers.", ge=0
    )
    use_gpu: bool = operational(False, "Train on GPUs.")

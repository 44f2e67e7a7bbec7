"""What is recorded of training: of each step, and of the whole."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import psutil
import torch
from torch import nn

from ste_ray.training.batches import StepBatch

# Peak arithmetic of GPUs in bf16 without sparsity, in FLOP/s, from the makers' data sheets, by a
# part of the device's name; more special names first.
_PEAK_FLOPS = (
    ("B200", 2250e12),
    ("GH200", 989e12),
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("A10G", 70e12),
    ("L40S", 362e12),
    ("L4", 121e12),
)

_TOLD_EVERY = 10  # steps


@dataclass(frozen=True)
class StepRecord:
    """What one optimiser step did, over all ranks.

    ``useful_tokens`` are the rows' own, in full; ``tokens_per_second`` counts what goes through the
    model: with padding, and a beginning that packed rows share once a pack, so that it may be less.
    ``mfu`` is the share of the GPUs' peak arithmetic that the model's own FLOPs make up: 6 for each
    weight and token (4 where most weights are frozen), plus attention; recomputation is not
    counted.
    """

    step: int  # from 1
    num_steps: int
    loss: float
    learning_rate: float
    grad_norm: float  # before clipping
    label_tokens: int
    useful_tokens: int
    padded_share: float  # share of padding in what went through the model
    seconds: float
    useful_tokens_per_second: float
    tokens_per_second: float  # that were computed, padding included
    memory_bytes: int  # peak of the GPU, or resident on the CPU, of rank 0
    workers: int
    mfu: float | None = None  # on GPUs whose peak is known
    validation_loss: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class TrainSummary:
    """What a whole training did."""

    num_steps: int
    num_examples: int
    label_tokens: int
    useful_tokens: int
    train_loss: float  # mean over the last tenth of the steps
    validation_loss: float | None
    seconds: float  # of the steps, without validation

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def summarise(records: list[StepRecord], num_examples: int) -> TrainSummary:
    """Sum up the records of all steps of a training."""
    tail = records[-max(1, len(records) // 10) :]
    return TrainSummary(
        num_steps=len(records),
        num_examples=num_examples,
        label_tokens=sum(record.label_tokens for record in records),
        useful_tokens=sum(record.useful_tokens for record in records),
        train_loss=sum(record.loss for record in tail) / len(tail),
        validation_loss=records[-1].validation_loss,
        seconds=sum(record.seconds for record in records),
    )


class FlopCounter:
    """Counts the floating-point operations that a step of a model needs, forward and backward.

    Embeddings are looked up, which costs none; the head counts at label positions alone.
    """

    def __init__(self, model: Any) -> None:
        config: Any = model.config.get_text_config()
        head = model.get_output_embeddings()
        embeddings = model.get_input_embeddings()
        self._head = head.weight.numel() if head is not None else 0
        outside = {id(parameter) for parameter in embeddings.parameters()}
        if head is not None:
            outside |= {id(parameter) for parameter in head.parameters()}
        self._body = sum(
            _active_share(name, config) * parameter.numel()
            for name, parameter in model.named_parameters()
            if id(parameter) not in outside
        )
        trainable = sum(one.numel() for one in model.parameters() if one.requires_grad)
        total = sum(one.numel() for one in model.parameters())
        # Forward 2, gradients of activations 2, and of weights 2 where they are trained.
        self._per_weight = 6 if trainable > total / 2 else 4
        heads = getattr(config, "num_attention_heads", 0)  # recurrent models have none
        size = getattr(config, "head_dim", None) or config.hidden_size // max(heads, 1)
        # Scores and weighted sum: 2 products of 2 FLOPs a position seen, forward, twice backward.
        self._per_attended = 12 * config.num_hidden_layers * heads * size

    def step(self, batch: StepBatch) -> float:
        """Return the FLOPs of a whole step, on all ranks together."""
        weights = self._body * batch.computed_tokens + self._head * batch.label_tokens
        return float(self._per_weight * weights + self._per_attended * batch.attended)


def _active_share(name: str, config: Any) -> float:
    experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None)
    if not experts or ".experts." not in name:
        return 1.0
    return float(config.num_experts_per_tok) / float(experts)


def peak_flops(device: torch.device) -> float | None:
    """Return a device's peak in bf16, or None if it is unknown or no GPU."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((flops for part, flops in _PEAK_FLOPS if part in name), None)


def memory_bytes(device: torch.device) -> int:
    """Return the peak of the GPU's memory, or what the process holds in memory on the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def num_trainable(model: nn.Module) -> int:
    """Return the number of parameters that are trained, tied ones counted once."""
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


def is_told(record: StepRecord) -> bool:
    """Whether a step is worth a line: the first, the last, and every tenth."""
    return record.step in (1, record.num_steps) or record.step % _TOLD_EVERY == 0


def progress_line(record: StepRecord) -> str:
    """Return one line about a step."""
    validation = record.validation_loss
    parts = [
        f"train: step {record.step}/{record.num_steps} loss {record.loss:.4f}"
        + (f" (validation {validation:.4f})" if validation is not None else ""),
        f"gradient {record.grad_norm:.2f}",
        f"{record.useful_tokens_per_second:,.0f} tokens/s ({record.padded_share:.0%} padding)",
    ]
    if record.mfu is not None:
        parts.append(f"MFU {record.mfu:.0%}")
    parts.append(f"{record.memory_bytes / 2**30:.1f} GiB")
    remaining = (record.num_steps - record.step) * record.seconds
    parts.append(f"about {_duration(remaining)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"

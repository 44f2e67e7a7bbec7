"""AdamW, and its learning rate over the steps."""

from __future__ import annotations

import math

import torch
from torch import nn

from ste_ray.training.config import TrainConfig


def make_adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return fused AdamW over what the model trains; norms and biases are not decayed."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in trained if one.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=config.learning_rate, fused=True
    )


def learning_rate(step: int, num_steps: int, peak: float, warmup_fraction: float) -> float:
    """Return the rate of a step counted from 0: linear warm-up, then a cosine down to zero."""
    warmup = math.ceil(num_steps * warmup_fraction)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))

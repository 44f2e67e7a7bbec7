"""What the loop needs of torch.distributed; without a process group, it is one rank.

Ray Train and torchrun both set the process group up; nothing here starts one.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from ste_ray.training.model import transformer_layers


def rank() -> int:
    """Return the number of this process, 0 where there is no process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def num_ranks() -> int:
    """Return the number of processes, 1 where there is no process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def training_device(use_gpu: bool) -> torch.device:
    """Return this process's device."""
    return torch.device("cuda", torch.cuda.current_device()) if use_gpu else torch.device("cpu")


def shard_model(model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    """Move the model to ``device`` and, in a process group, shard it with FSDP2.

    Each layer is a group of its own; embeddings, last norm and head make up the root's, because
    tied embeddings cannot lie in two groups. All ranks must come with the same weights.
    """
    model.to(device)
    if not dist.is_initialized():
        return model
    mesh = init_device_mesh(device.type, (num_ranks(),))
    policy = MixedPrecisionPolicy()
    if device.type == "cuda":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for layer in transformer_layers(model):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    return model


def sum_over_ranks(value: float, device: torch.device) -> float:
    """Return the sum of each rank's value, in double precision."""
    if not dist.is_initialized():
        return value
    total = torch.tensor([value], dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return float(total)


def full_value(tensor: torch.Tensor) -> torch.Tensor:
    """Return the whole of a tensor that may be distributed; every rank must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

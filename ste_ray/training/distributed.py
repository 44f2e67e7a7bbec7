"""What training needs of torch.distributed; without a process group, it is one rank.

Ray Train and torchrun both set the process group up; nothing here starts one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from ste_ray.training.model import transformer_layers

Precision = Literal["fp32", "mixed", "bf16"]
# Below this, a model's weights stay gathered from the first to the last micro-batch of a step.
_SMALL_MODEL_BYTES = 2**30


def rank() -> int:
    """Return the number of this process, 0 where there is no process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def num_ranks() -> int:
    """Return the number of processes, 1 where there is no process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def training_device(use_gpu: bool) -> torch.device:
    """Return this process's device."""
    return torch.device("cuda", torch.cuda.current_device()) if use_gpu else torch.device("cpu")


def shard_model(
    model: nn.Module,
    device: torch.device,
    precision: Precision = "fp32",
    *,
    activation_checkpointing: bool = False,
    compile_layers: bool = False,
) -> nn.Module:
    """Move the model to ``device`` and, in a process group, shard it with FSDP2.

    Each layer is a group of its own; embeddings, last norm and head make up the root's, because
    tied embeddings cannot lie in two groups. Parameters move to the device one group at a time.

    Frozen weights that every rank can hold stay whole (``keeps_frozen_whole``): they never change,
    so gathering them in each step would be for nothing. What is trained then is one group.
    """
    layers = transformer_layers(model)
    if activation_checkpointing:
        enable: Any = model.activation_checkpointing_enable
        enable({"use_reentrant": False})
    if compile_layers:
        for layer in layers:
            layer.compile(dynamic=True)
    if not dist.is_initialized():
        return model.to(device)
    mesh = init_device_mesh(device.type, (num_ranks(),))
    options: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        if precision == "mixed"
        else MixedPrecisionPolicy(),
        "reshard_after_forward": not _is_small(model),
    }
    if keeps_frozen_whole(model):
        frozen = _frozen(model)
        for parameter in frozen:
            parameter.data = parameter.data.to(device)
        options["ignored_params"] = set(frozen)
    else:
        for layer in layers:
            fully_shard(layer, **options)
    fully_shard(model, **options)
    for name, buffer in model.named_buffers():
        if buffer.device != device:
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, buffer.to(device))
    return model


def keeps_frozen_whole(model: nn.Module) -> bool:
    """Whether the model has frozen weights that stay whole on every rank."""
    return _is_small(model) and bool(_frozen(model))


def lower_frozen(model: nn.Module) -> None:
    """Hold the frozen weights that stay whole in bf16, in which training computes with them."""
    for parameter in _frozen(model):
        parameter.data = parameter.data.to(torch.bfloat16)


def prepare_backward(model: nn.Module, last: bool) -> None:
    """Say whether the next backward pass is a step's last one: only that one exchanges gradients.

    In between, a small model's weights stay gathered.
    """
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
        if _is_small(model):
            model.set_reshard_after_backward(last)


def whole_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of a model that is not sharded yet, tied ones once."""
    names = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    return {name: value for name, value in model.state_dict().items() if name in names}


def load_weights(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Load whole weights into a model that may be sharded; those of rank 0 count."""
    set_model_state_dict(
        model,
        dict(weights),
        options=StateDictOptions(
            full_state_dict=True, broadcast_from_rank0=dist.is_initialized(), strict=False
        ),
    )


def sum_over_ranks(values: list[float], device: torch.device) -> list[float]:
    """Return the sums of each rank's values, in double precision."""
    if not dist.is_initialized():
        return values
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()


def of_all_ranks(value: Any) -> list[Any]:
    """Return every rank's value, which must survive pickling."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * num_ranks()
    dist.all_gather_object(values, value)
    return values


def from_rank_0(value: Any) -> Any:
    """Return the value of rank 0."""
    if not dist.is_initialized():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def full_value(tensor: torch.Tensor) -> torch.Tensor:
    """Return the whole of a tensor that may be distributed; every rank must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _frozen(model: nn.Module) -> list[nn.Parameter]:
    return [each for each in model.parameters() if not each.requires_grad]


def _is_small(model: nn.Module) -> bool:
    return sum(each.numel() * each.element_size() for each in model.parameters()) < (
        _SMALL_MODEL_BYTES
    )

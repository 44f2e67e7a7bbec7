"""Whether an error says that memory ran out, and nothing else."""

from __future__ import annotations

import torch

# What torch says on the CPU in a bare RuntimeError.
_ON_CPU = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "Cannot allocate memory",
)


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an allocator raised it; a device that is broken raises a RuntimeError too."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(text in str(error) for text in _ON_CPU)

"""Whether an error says that memory ran out, and nothing else."""

from __future__ import annotations

import ctypes

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


def give_back_freed() -> None:
    """Give memory that was freed back to the system, where the C library keeps it.

    The one of GNU keeps what a thread freed for threads that come later, and each may be given
    another store: work that is done in threads of its own grows by what each of them needed.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

"""A process's memory: whether an error says that it ran out, and what libraries hold of it."""

from __future__ import annotations

import ctypes
import os

import torch

# What torch says on the CPU in a bare RuntimeError.
_ON_CPU = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "Cannot allocate memory",
)

_KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_KEPT_KERNELS = "64"  # a step of training or decoding uses about twenty shapes, layer by layer


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


def keep_few_kernels() -> None:
    """Bound what oneDNN keeps of kernels, unless the environment says how many already.

    It makes kernels for each shape of matrices, products in bf16 above all, and keeps 1,024 of
    them. Rows and prompts have ever new lengths, so most are never used again: in a training of a
    model of 135M parameters they grew to 0.7 GiB a process. To be called before the first product.
    """
    os.environ.setdefault(_KERNELS, _KEPT_KERNELS)

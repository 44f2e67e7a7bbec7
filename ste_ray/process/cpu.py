"""What this machine's CPU can do."""

from __future__ import annotations

from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # the last one of ARM's


def has_bf16_arithmetic(cpu_info: Path = _CPU_INFO) -> bool:
    """Whether the CPU multiplies matrices in bf16 by instructions of its own.

    Args:
        cpu_info: how Linux describes the CPU; where that is not to be read, the answer is no.
    """
    try:
        lines = cpu_info.read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    described = (line.partition(":") for line in lines)
    flags = (words for key, _, words in described if key.strip() in ("flags", "Features"))
    return any(_BF16_FLAGS & set(words.split()) for words in flags)

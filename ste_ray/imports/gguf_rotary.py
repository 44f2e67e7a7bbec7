"""Scaled rotary positions of a GGUF file, as transformers configures them.

Llama 3.1 and later are stored with what each frequency is divided by; the parameters that these
factors were made of are found again and proven by making the factors anew. Source: the scaling of
the kind "llama3" in transformers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ste_ray.errors import StageInputError
from ste_ray.imports.gguf_files import GgufFile

# Of all models of Llama; the factors alone do not tell them from the length.
_LOW, _HIGH = 1.0, 4.0
_USUAL_POSITIONS = 8192
_OWN = ("gpt-oss",)  # whose scaling transformers takes over itself


def scaled_positions(file: GgufFile, theta: float, head_size: int) -> dict[str, Any]:
    """Return what scaling adds to ``rope_parameters``; empty: positions are not scaled.

    Args:
        file: the header of the file.
        theta: base of the wavelengths.
        head_size: number of values in a head that are rotated.

    Raises:
        StageInputError: they are scaled in a way that cannot be taken over.
    """
    if not file.rope_scaling or file.architecture in _OWN:
        return {}
    if file.rope_factors:
        found = _llama3(file.rope_factors, theta, head_size)
    elif file.rope_scaling == "linear" and file.rope_factor:
        found = {"rope_type": "linear", "factor": file.rope_factor}
    else:
        found = None
    if found is None:
        raise StageInputError(
            f"{str(file.path)!r} scales rotary positions ({file.rope_scaling}) in a way that is not"
            " taken over from GGUF (only linear, and that of Llama 3.1); use the folder of the"
            " original model, or its GGUF file for short contexts"
        )
    return found


def _llama3(factors: Sequence[float], theta: float, head_size: int) -> dict[str, Any] | None:
    """Return the parameters that make these factors; None: none do."""
    wavelengths = [2 * math.pi * theta ** (2 * i / head_size) for i in range(head_size // 2)]
    if len(wavelengths) != len(factors):
        return None
    scale = max(factors)
    lengths = [_USUAL_POSITIONS]
    for wavelength, factor in zip(wavelengths, factors, strict=True):
        if 1.0 < factor < scale:
            smooth = (1 / factor - 1 / scale) / (1 - 1 / scale)
            lengths.append(round(wavelength * (_LOW + smooth * (_HIGH - _LOW))))
            break
    for length in lengths:
        made = [_factor(one, scale, length) for one in wavelengths]
        if all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(made, factors, strict=True)):
            return {
                "rope_type": "llama3",
                "factor": scale,
                "low_freq_factor": _LOW,
                "high_freq_factor": _HIGH,
                "original_max_position_embeddings": length,
            }
    return None


def _factor(wavelength: float, scale: float, length: int) -> float:
    """Return what the frequency of a wavelength is divided by."""
    smooth = min(1.0, max(0.0, (length / wavelength - _LOW) / (_HIGH - _LOW)))
    return 1 / ((1 - smooth) / scale + smooth)

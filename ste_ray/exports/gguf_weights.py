"""The weights of a model as llama.cpp wants them: which architectures, names, order and types."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from ste_ray.errors import StageInputError

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

#: The name of an architecture at transformers -> that in GGUF.
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
#: What to do where this does not go.
CONVERTER = "convert the folder with llama.cpp's own convert_hf_to_gguf.py"
_LARGEST_F16 = 65504.0


def check_config(config: Any, folder: str) -> None:
    """Refuse what llama.cpp computes otherwise, or what was never compared with it.

    Raises:
        StageInputError: naming what it is.
    """
    if config.model_type not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise StageInputError(
            f"{folder!r} holds a model of the architecture {config.model_type!r}; export gguf"
            f" writes {known}; {CONVERTER}"
        )
    rope = config.rope_parameters or {}
    window = getattr(config, "sliding_window", None)
    slides = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    if config.model_type == "mistral":
        slides = window is not None and window < config.max_position_embeddings
    for found, what in (
        (getattr(config, "quantization_config", None) is not None, "quantised weights"),
        (config.hidden_act not in ("silu", "swish"), f"the activation {config.hidden_act!r}"),
        (slides, f"attention in a window of {window} tokens"),
        (
            rope.get("rope_type", "default") not in ("default", "llama3"),
            f"rotary positions of the type {rope.get('rope_type')!r}",
        ),
        (rope.get("partial_rotary_factor", 1.0) != 1.0, "rotary positions of a part of each head"),
    ):
        if found:
            raise StageInputError(
                f"the model in {folder!r} has {what}, which export gguf does not write; {CONVERTER}"
            )


def _head_size(config: Any) -> int:
    size = getattr(config, "head_dim", None)
    return int(size or config.hidden_size // config.num_attention_heads)


def add_shape(writer: GGUFWriter, config: Any, num_tokens: int) -> None:
    """Write the shape of a model into the header of a file."""
    size = _head_size(config)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(num_tokens)


def tensors_of(model: Any, architecture: str, folder: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the weights by their names in GGUF; tied ones once.

    Raises:
        StageInputError: there is one that the architecture has no name for, or it holds no numbers.
    """
    import gguf

    config = model.config
    numbers = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(numbers[architecture], config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, parameter in model.named_parameters():
        gguf_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if gguf_name is None:
            raise StageInputError(
                f"the model in {folder!r} has weights {name!r} that the architecture"
                f" {architecture!r} of GGUF has no name for; {CONVERTER}"
            )
        values = parameter.detach()
        if not torch.isfinite(values).all():
            raise StageInputError(
                f"the weights {name!r} in {folder!r} hold values that are no numbers; train again"
            )
        part = name.split(".")[-2]
        if architecture == "llama" and part in heads:
            values = _in_pairs(values, heads[part])
        yield gguf_name, values
    if (config.rope_parameters or {}).get("rope_type") == "llama3":
        yield "rope_freqs.weight", _slowed(config)


def _in_pairs(values: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Reorder rows of queries or keys: what rotates together stands side by side in llama.cpp.

    Args:
        values: (heads * size, …), where a pair is one of the first and one of the second half.
        num_heads: how many.
    """
    halves = values.reshape(num_heads, 2, -1, *values.shape[1:])
    return halves.transpose(1, 2).reshape(values.shape)


def _slowed(config: Any) -> torch.Tensor:
    """Return by how much Llama 3 slows each frequency of its rotary positions: (size / 2,)."""
    size = _head_size(config)
    exponents = torch.arange(0, size, 2, dtype=torch.float32) / size
    plain = 1.0 / config.rope_parameters["rope_theta"] ** exponents
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    slowed: torch.Tensor = plain / scaled
    return slowed


def stored_type(values: torch.Tensor, kind: str) -> GGMLQuantizationType:
    """Return what a tensor is stored as: vectors in full, and what does not divide into blocks."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    wanted = GGMLQuantizationType[kind.upper()]
    block, _ = GGML_QUANT_SIZES[wanted]
    if values.ndim < 2 or values.shape[-1] % block:
        return GGMLQuantizationType.F32
    if kind == "f16" and values.abs().max() > _LARGEST_F16:
        raise StageInputError(
            "the model has weights that are too large for --type 'f16'; give 'bf16' or 'f32'"
        )
    return wanted


def write_tensors(
    writer: GGUFWriter, tensors: list[tuple[str, torch.Tensor, GGMLQuantizationType]]
) -> None:
    """Write the file, converting one tensor at a time."""
    import numpy as np
    from gguf import GGML_QUANT_SIZES, quants

    for name, values, stored in tensors:
        block, size = GGML_QUANT_SIZES[stored]
        num_bytes = prod(values.shape) // block * size
        writer.add_tensor_info(name, values.shape, np.dtype(np.float32), num_bytes, stored)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for _, values, stored in tensors:
            plain = values.to(torch.float32).contiguous().numpy()
            writer.write_tensor_data(quants.quantize(plain, stored))
    finally:
        writer.close()

"""Attention for packed rows: each row in a pack attends to itself alone.

``transformers`` calls the function by the name it is registered under and hands on what the model
was called with: ``cu_seq_lens_q``, where each row starts. On a GPU in 16 bits it is one call of
torch's variable-length attention; elsewhere each row is attended apart, which is the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from ste_ray.errors import ConfigError

PACKED_ATTENTION = "ste_ray_packed"
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}
_REMEDY = "set train.batching=grouped"


def can_pack(model: PreTrainedModel) -> bool:
    """Whether rows packed together stay apart in every layer of the model."""
    config: Any = model.config.get_text_config()
    # Of what a recurrent model is, transformers says nothing more public than ``_is_stateful``.
    layers = getattr(config, "layer_types", None)
    return not (
        getattr(model, "_is_stateful", False)  # recurrent: what came before leaks into a row
        or (layers and not set(layers) <= _KNOWN_LAYERS)
        or getattr(config, "attn_logit_softcapping", None)
    )


def use_packed_attention(model: PreTrainedModel) -> None:
    """Let the model attend within packed rows.

    Raises:
        ConfigError: the model mixes tokens in another way.
    """
    if not can_pack(model):
        raise ConfigError(
            f"rows of {type(model).__name__!r} cannot be packed: its layers do more than plain"
            f" attention; {_REMEDY}"
        )
    AttentionInterface.register(PACKED_ATTENTION, packed_attention)
    model.set_attn_implementation(PACKED_ATTENTION)


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    *,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention output of shape (1, length, heads, head size).

    Args:
        module: the attention layer.
        query: (1, heads, length, head size).
        key: as the query, maybe with fewer heads.
        value: as the key.
        attention_mask: none.
        dropout: of the attention weights.
        scaling: of the scores; by default 1 / sqrt(head size).
        sliding_window: how many positions a token sees, itself included; None for all before it.
        cu_seq_lens_q: (rows + 1,), where each row starts; the last one is the end.
        max_length_q: the longest row.
        **kwargs: what else the model hands on.

    Raises:
        ConfigError: the model's attention is of another kind.
    """
    if attention_mask is not None or any(kwargs.get(name) is not None for name in _REFUSED):
        raise ConfigError(
            f"rows of this model cannot be packed: the attention of"
            f" {type(module).__name__!r} is of a kind of its own; {_REMEDY}"
        )
    if sliding_window is not None and sliding_window >= max_length_q:
        sliding_window = None
    if _can_call_kernel(query, value, dropout):
        output = _by_kernel(query, key, value, scaling, sliding_window, cu_seq_lens_q, max_length_q)
        return output, None
    ends = cu_seq_lens_q[1:].tolist()
    starts = [0, *ends[:-1]]
    outputs = [
        _one_row(
            query[:, :, start:end],
            key[:, :, start:end],
            value[:, :, start:end],
            dropout,
            scaling,
            sliding_window,
        )
        for start, end in zip(starts, ends, strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


_REFUSED = ("softcap", "s_aux", "position_bias")


def _can_call_kernel(query: torch.Tensor, value: torch.Tensor, dropout: float) -> bool:
    head_size = query.shape[-1]
    return (
        query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and head_size == value.shape[-1] <= 256
        and head_size % 8 == 0
        and dropout == 0.0
    )


def _by_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    sliding_window: int | None,
    row_starts: torch.Tensor,
    longest: int,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn  # needs a GPU build of torch

    output = varlen_attn(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        row_starts,
        row_starts,
        longest,
        longest,
        scale=scaling,
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(output, torch.Tensor)
    return output[None]


def _one_row(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    dropout: float,
    scaling: float | None,
    sliding_window: int | None,
) -> torch.Tensor:
    length = query.shape[2]
    mask = None
    if sliding_window is not None and length > sliding_window:
        ones = torch.ones(length, length, dtype=torch.bool, device=query.device)
        mask = ones.tril().triu(1 - sliding_window)
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )

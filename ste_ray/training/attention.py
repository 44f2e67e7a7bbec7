"""Attention for packed rows: each row attends to itself, and to the beginning that all rows share.

``transformers`` calls the function by the name it is registered under and hands on what the model
was called with: ``cu_seq_lens_q``, where each row starts. What stands before the first start is the
shared beginning, computed once: the tokens of a row come after it, and see it. On a GPU in 16 bits
it is one call of torch's variable-length attention, which knows no shared beginning; elsewhere rows
of similar length are attended together, which is the same.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from ste_ray.errors import ConfigError

PACKED_ATTENTION = "ste_ray_packed"
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}
_DRAWN = ("drop", "jitter", "noise")  # in the names of settings
_REMEDY = "set train.batching=grouped"
# Rows down to this share of the longest are padded to it: calls of their own would cost more.
_SIMILAR = 0.75
_SHORT_ROWS = 512


def can_pack(model: PreTrainedModel) -> bool:
    """Whether rows packed together stay apart in every layer of the model."""
    config: Any = model.config.get_text_config()
    # Of what a recurrent model is, transformers says nothing more public than ``_is_stateful``.
    layers = getattr(config, "layer_types", None)
    return model.is_backend_compatible() and not (  # or it would not call the function below
        getattr(model, "_is_stateful", False)  # recurrent: what came before leaks into a row
        or (layers and not set(layers) <= _KNOWN_LAYERS)
        or getattr(config, "attn_logit_softcapping", None)
    )


def can_share(model: torch.nn.Module, config: Any) -> bool:
    """Whether a beginning that is computed once gives what it gives in each row.

    Args:
        model: with its adapters.
        config: of the plain model.
    """
    # Dropout and noise are drawn anew for each row.
    settings = config.get_text_config().to_dict()
    return not any(
        isinstance(value, float) and value > 0 and any(part in name for part in _DRAWN)
        for name, value in settings.items()
    ) and not any(isinstance(one, torch.nn.Dropout) and one.p > 0 for one in model.modules())


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
        cu_seq_lens_q: (rows + 1,), where each row starts; the last one is the end. On the CPU the
            first one may be above 0: how many tokens all rows share.
        max_length_q: the longest row, the shared tokens included.
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
    starts = cu_seq_lens_q.tolist()
    shared = starts[0]
    outputs = []
    if shared:
        begin, keys, values = (each[:, :, :shared] for each in (query, key, value))
        outputs.append(_attend(begin, keys, values, dropout, scaling, sliding_window))
    for rows in _of_similar_length(starts):
        index, is_row = _places(rows, query.device)
        ours = _gather(query, index)
        keys = _after_shared(key, shared, _gather(key, index))
        values = _after_shared(value, shared, _gather(value, index))
        attended = _attend(ours, keys, values, dropout, scaling, sliding_window)
        # (rows, heads, longest, size) -> (1, heads, tokens, size)
        outputs.append(attended.transpose(1, 2)[is_row].transpose(0, 1)[None])
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


def _of_similar_length(starts: list[int]) -> list[list[tuple[int, int]]]:
    """Return where rows start and end: neighbours together as long as they need little padding."""
    groups: list[list[tuple[int, int]]] = []
    longest = 0
    for start, end in pairwise(starts):
        if groups and _SIMILAR * longest <= end - start <= longest:
            groups[-1].append((start, end))
        else:
            groups.append([(start, end)])
            longest = end - start
    return groups


def _places(rows: list[tuple[int, int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the places of rows' tokens, (rows, longest), and which of them are the row's.

    What follows a short row is no padding but the next one: no token of the row sees it.
    """
    bounds = torch.tensor(rows, device=device)
    begins, ends = bounds[:, :1], bounds[:, 1:]
    places = begins + torch.arange(int((ends - begins).max()), device=device)
    return places.clamp(max=rows[-1][1] - 1), places < ends


def _gather(states: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return (rows, heads, longest, size) of (1, heads, length, size)."""
    found = states[0].index_select(1, index.flatten())
    return found.view(len(found), *index.shape, -1).transpose(0, 1)


def _after_shared(states: torch.Tensor, shared: int, rows: torch.Tensor) -> torch.Tensor:
    if not shared:
        return rows
    return torch.cat([states[:, :, :shared].expand(len(rows), -1, -1, -1), rows], dim=2)


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    dropout: float,
    scaling: float | None,
    sliding_window: int | None,
) -> torch.Tensor:
    """Attend causally; the queries are those of the last keys."""
    length, seen = query.shape[2], key.shape[2]
    mask = None
    if seen > length or (sliding_window is not None and seen > sliding_window):
        mask = torch.ones(length, seen, dtype=torch.bool, device=query.device).tril(seen - length)
        if sliding_window is not None:
            mask = mask.triu(seen - length + 1 - sliding_window)
    if _is_quicker_by_products(query, key, dropout):
        return _by_products(query, key, value, mask, scaling)
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


def _is_quicker_by_products(query: torch.Tensor, key: torch.Tensor, dropout: float) -> bool:
    # In bf16 the backward pass of torch's own CPU kernel takes four times as long for short rows.
    short = key.shape[2] <= _SHORT_ROWS
    return query.device.type == "cpu" and query.dtype == torch.bfloat16 and short and dropout == 0.0


def _by_products(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
) -> torch.Tensor:
    """Attend by plain products of matrices, as ``_attend`` does."""
    rows, heads, length, size = query.shape
    groups, seen = key.shape[1:3]
    if mask is None:
        mask = torch.ones(length, seen, dtype=torch.bool).tril(seen - length)
    bias = torch.zeros(mask.shape, dtype=query.dtype).masked_fill(~mask, -math.inf)
    scale = size**-0.5 if scaling is None else scaling
    # Heads that share keys are rows of one product.
    each = (query * scale).reshape(rows * groups, heads // groups * length, size)
    keys, values = (one.reshape(rows * groups, seen, -1) for one in (key, value))
    scores = torch.bmm(each, keys.transpose(1, 2)).view(rows, heads, length, seen) + bias
    weights = scores.softmax(dim=-1).view(rows * groups, -1, seen)
    return torch.bmm(weights, values).view(rows, heads, length, -1)

"""Keys and values of a batch, in room that is taken once and then written in place.

The cache that transformers makes grows by concatenation: each step of decoding copies all of it.
Here the room for a batch is taken at once, prompts and answers; parts of it are caches for
transformers, over the same memory.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

Pair = tuple[torch.Tensor, torch.Tensor]  # keys, values: [rows, heads, columns, head size]

# Rotations of these depend on how long a prompt is, so that a part of it is not computed alike.
_LENGTH_DEPENDENT = ("dynamic", "longrope")


@dataclass(frozen=True)
class KeyValueLayout:
    """What the keys and values of a model look like.

    Attributes:
        layers: those of one token.
        last_logits: how the model is asked for no more than the last token's logits.
    """

    layers: tuple[Pair, ...]
    last_logits: Mapping[str, int]

    @property
    def bytes_per_token(self) -> int:
        """Memory of one token's keys and values in all layers."""
        return sum(part.nbytes for layer in self.layers for part in layer)

    def room(self, rows: int, columns: int) -> Room:
        """Take room for so many rows and columns.

        Raises:
            RuntimeError, MemoryError: there is not memory enough.
        """
        # Zeros, because what is masked is still multiplied, and must not be NaN.
        return Room(
            tuple(
                (
                    keys.new_zeros(rows, keys.shape[1], columns, keys.shape[3]),
                    values.new_zeros(rows, values.shape[1], columns, values.shape[3]),
                )
                for keys, values in self.layers
            )
        )


def key_value_layout(model: Any) -> KeyValueLayout | None:
    """Return the layout of a model's keys and values.

    None: the model keeps other things besides or instead (states of a recurrent layer), places
    tokens otherwise than by ``position_ids``, or is not part of transformers.

    Args:
        model: a causal language model of transformers, on its device.
    """
    if model.is_custom_code():
        return None
    config = model.config.get_text_config(decoder=True)
    takes = inspect.signature(model.forward).parameters
    if not {"past_key_values", "position_ids", "attention_mask"} <= takes.keys():
        return None
    if getattr(config, "attention_chunk_size", None) or _depends_on_length(config):
        return None
    cache = DynamicCache(config=config)
    if any(type(one) not in (DynamicLayer, DynamicSlidingWindowLayer) for one in cache.layers):
        return None
    token = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    try:
        with torch.inference_mode():
            model(input_ids=token, past_key_values=cache, use_cache=True)
    except RuntimeError:
        return None  # what fails here fails again when it decodes, and is told there
    found = [(layer.keys, layer.values) for layer in cache.layers]
    if not all(keys is not None and keys.shape[2] == 1 for keys, _ in found):
        return None
    layers = tuple((keys, values) for keys, values in found)
    return KeyValueLayout(layers, {"logits_to_keep": 1} if "logits_to_keep" in takes else {})


def _depends_on_length(config: Any) -> bool:
    ropes = getattr(config, "rope_parameters", None) or {}
    # Models with several kinds of layer have them by kind.
    kinds = [ropes, *(one for one in ropes.values() if isinstance(one, dict))]
    return any(one.get("rope_type") in _LENGTH_DEPENDENT for one in kinds)


@dataclass
class Room:
    """Room for the keys and values of some rows; ``layers`` holds one pair a layer."""

    layers: tuple[Pair, ...]

    @property
    def columns(self) -> int:
        """How many tokens of each row have room."""
        return self.layers[0][0].shape[2]

    def part(self, rows: slice, columns: slice) -> Room:
        """Return a part, over the same memory."""
        return Room(
            tuple(
                (keys[rows, :, columns], values[rows, :, columns]) for keys, values in self.layers
            )
        )

    def copied(self) -> Room:
        """Return a copy with memory of its own."""
        return Room(tuple((keys.clone(), values.clone()) for keys, values in self.layers))

    def fill(self, other: Room) -> None:
        """Copy what another room of the same size holds."""
        for mine, others in zip(self.layers, other.layers, strict=True):
            for to, source in zip(mine, others, strict=True):
                to.copy_(source)

    def cache(self, length: int) -> Cache:
        """Return a cache for transformers that holds the first ``length`` columns.

        What a model adds is written into the columns behind them.
        """
        return Cache(layers=[_RoomLayer(keys, values, length) for keys, values in self.layers])

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but those at the places ``rows``."""
        # A layer at a time, so that the room is never there twice.
        layers = list(self.layers)
        self.layers = ()
        for place, (keys, values) in enumerate(layers):
            places = rows.to(keys.device)
            layers[place] = keys.index_select(0, places), values.index_select(0, places)
        self.layers = tuple(layers)


class _RoomLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed
    """The cache of one layer over given memory.

    Layers with a sliding window keep all their tokens too; the mask hides those that are too far.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, length: int) -> None:
        super().__init__()
        self.dtype, self.device = keys.dtype, keys.device
        self._room = keys, values
        self.is_initialized = True
        self._show(length)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> Pair:
        """Write what comes behind what is there; return all of it."""
        start = self.keys.shape[2]
        end = start + key_states.shape[2]
        keys, values = self._room
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states
        self._show(end)
        return self.keys, self.values

    def _show(self, length: int) -> None:
        keys, values = self._room
        self.keys, self.values = keys[:, :, :length], values[:, :, :length]

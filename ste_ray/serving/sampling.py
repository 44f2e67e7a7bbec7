"""How the tokens of a reply are chosen: as the model's folder says, and as a request does.

What a request leaves out holds as the folder's ``generation_config.json`` has it, else as OpenAI
has it. Of that file only what chooses tokens counts: replies are decoded one at a time and as they
come, so beams, several sequences, drafts and what is returned besides have no place.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transformers import GenerationConfig

from ste_ray.serving.requests import ChatRequest

# Below it a temperature leaves the likeliest token alone, and logits divided by it overflow.
_LEAST_TEMPERATURE = 1e-5
# These say something only where tokens are drawn.
_OF_SAMPLING = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "top_h",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
)
_HONOURED = (
    "do_sample",
    *_OF_SAMPLING,
    "repetition_penalty",
    "no_repeat_ngram_size",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "sequence_bias",
    "renormalize_logits",
    "remove_invalid_values",
    "watermarking_config",
)


def served_config(own: GenerationConfig) -> GenerationConfig:
    """Return what of a folder's generation configuration holds for replies that are streamed."""
    found = GenerationConfig()
    for name in _HONOURED:
        setattr(found, name, copy.deepcopy(getattr(own, name)))
    if found.temperature is not None:
        found.temperature = float(found.temperature)  # of whole numbers transformers takes none
    return found


def asked_config(own: GenerationConfig, request: ChatRequest) -> GenerationConfig:
    """Return how the tokens of the reply to a request are drawn.

    Args:
        own: of the model, which holds for what the request does not say; it is not changed.
        request: its ``temperature`` and ``top_p``. A ``top_p`` below 1 without a temperature draws
            at the folder's, else at 1; one of 1 says nothing.
    """
    config = copy.deepcopy(own)
    if request.top_p is not None:
        config.do_sample = bool(config.do_sample) or request.top_p < 1
        config.top_p = request.top_p
    if request.temperature is not None:
        config.do_sample = True
        config.temperature = request.temperature
    if config.temperature is not None and config.temperature < _LEAST_TEMPERATURE:
        config.do_sample = False
    if not config.do_sample:  # or they are warned of at each request
        for name in _OF_SAMPLING:
            setattr(config, name, None)
    elif config.top_k is None:
        config.top_k = 0  # the library's own default is 50, OpenAI has none
    return config


def with_biases(
    own: Mapping[tuple[int, ...], float] | Sequence[Sequence[Any]] | None,
    asked: Mapping[int, float],
) -> list[list[Any]]:
    """Return a ``sequence_bias`` of a folder, and what a request adds to the logits of tokens.

    Args:
        own: of the folder, in either of the forms that transformers takes.
        asked: by token; it is added to what the folder gives the same token.
    """
    pairs: Iterable[Any] = own.items() if isinstance(own, Mapping) else own or ()
    found = {tuple(tokens): float(bias) for tokens, bias in pairs}
    for token, bias in asked.items():
        found[token,] = found.get((token,), 0.0) + bias
    return [[list(tokens), bias] for tokens, bias in found.items()]

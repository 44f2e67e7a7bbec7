"""A local causal language model with its tokenizer, loaded for generation.

Weights come from safetensors and no code that ships with a model is ever run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from ste_ray.errors import StageInputError


@dataclass(frozen=True)
class LocalModel:
    """A model in evaluation mode and what decoding needs to know about it.

    Attributes:
        model: the causal language model.
        tokenizer: its tokenizer.
        device: where the model is.
        pad_token_id: fills the left of shorter prompts and is never attended to.
        eos_token_ids: every token that ends an answer.
        max_positions: the most tokens of prompt and answer together, None for no limit.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    pad_token_id: int
    eos_token_ids: tuple[int, ...]
    max_positions: int | None


def load_model(folder: Path, use_gpu: bool = False) -> LocalModel:
    """Load the model in ``folder``: in fp32 on the CPU, as stored on a GPU.

    Raises:
        StageInputError: the folder holds no such model, or model and tokenizer do not belong
            together.
    """
    device = torch.device("cuda" if use_gpu else "cpu")
    dtype: Any = "auto" if use_gpu else torch.float32
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        model = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, dtype=dtype, **options
        )
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise StageInputError(
            f"cannot load the model in {str(folder)!r}: {reason}; it must be a Hugging Face folder"
            " of a causal language model with safetensors and tokenizer"
        ) from None
    eos_token_ids = _eos_token_ids(model, tokenizer)
    pad_token_id = _pad_token_id(folder, tokenizer, eos_token_ids)
    _check_vocabulary(folder, model, tokenizer)
    # A model's own defaults (sampling, penalties) must not leak into what is decoded here.
    model.generation_config = GenerationConfig()
    return LocalModel(
        model=model.to(device).eval(),
        tokenizer=tokenizer,
        device=device,
        pad_token_id=pad_token_id,
        eos_token_ids=eos_token_ids,
        max_positions=position_limit(model.config.get_text_config().to_dict()),
    )


def position_limit(config: dict[str, Any]) -> int | None:
    """Return how many positions a model has by its ``config.json``; None for no limit."""
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        limit = config.get(name)
        if isinstance(limit, int) and limit > 0:
            return limit
    return None


def _eos_token_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    # Chat models often end an answer with another token than a document.
    ids = model.generation_config.eos_token_id
    found = set(ids) if isinstance(ids, list) else {ids}
    found.add(tokenizer.eos_token_id)
    return tuple(sorted(found - {None}))


def _pad_token_id(folder: Path, tokenizer: Any, eos_token_ids: tuple[int, ...]) -> int:
    if tokenizer.pad_token_id is not None:
        return int(tokenizer.pad_token_id)
    if not eos_token_ids:
        raise StageInputError(
            f"the tokenizer in {str(folder)!r} has neither a pad nor an end-of-sequence token, and"
            " batches cannot be padded; set 'pad_token' in its tokenizer_config.json"
        )
    # Padding is masked, so any token would do; that one certainly exists.
    return eos_token_ids[0]


def _check_vocabulary(folder: Path, model: Any, tokenizer: Any) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise StageInputError(
            f"the tokenizer in {str(folder)!r} has {len(tokenizer)} tokens, its model only {rows}"
            " embeddings: they do not belong together; write both again with the train stage"
        )

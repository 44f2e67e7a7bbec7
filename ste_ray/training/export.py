"""Writes a model as a Hugging Face folder: safetensors, tokenizer, generation config, card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from ste_ray.training.adapters import merged
from ste_ray.training.chat_format import ChatFormat
from ste_ray.training.distributed import rank


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a plain model and its tokenizer."""
    _finish(model, tokenizer)
    _write(model, tokenizer, folder)


def export_model(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    build_empty: Callable[[], Any] | None = None,
    retired: tuple[int, ...] = (),
) -> bool:
    """Gather the whole model on rank 0 and write it there; every rank must call this.

    The folder loads with plain ``AutoModelForCausalLM`` and ``AutoTokenizer``; adapters are merged
    into the weights.

    Args:
        model: sharded or not.
        tokenizer: with all toolkens.
        folder: where to write.
        build_empty: makes a model with the same adapters, whose weights do not matter; needed where
            there are any.
        retired: ids of toolkens that must not be generated.

    Returns:
        Whether this rank wrote the folder.
    """
    # With full_state_dict, only rank 0 gets the tensors.
    state = get_model_state_dict(
        model, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
    if rank() != 0:
        return False
    if build_empty is None:
        # A shell without weights, because sharding has changed the class of the model itself.
        config: Any = model.config
        with torch.device("meta"):
            shell = AutoModelForCausalLM.from_config(config)
        _finish(shell, tokenizer, retired)
        _write(shell, tokenizer, folder, state_dict=state)
        return True
    whole = build_empty()
    whole.load_state_dict(state)
    plain = merged(whole)
    _finish(plain, tokenizer, retired)
    _write(plain, tokenizer, folder)
    return True


def _write(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, **options: Any
) -> None:
    transformers_logging.disable_progress_bar()
    model.save_pretrained(folder, **options)
    tokenizer.save_pretrained(folder)


def _finish(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, retired: tuple[int, ...] = ()
) -> None:
    model.config.use_cache = True  # it is off in training only
    config = GenerationConfig.from_model_config(model.config)
    ends = dict.fromkeys([tokenizer.eos_token_id, ChatFormat(tokenizer).end_id])
    config.bos_token_id = tokenizer.bos_token_id
    config.eos_token_id = list(ends) if len(ends) > 1 else tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    config.do_sample = False
    if retired:
        config.suppress_tokens = list(retired)
    model.generation_config = config

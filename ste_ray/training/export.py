"""Writes a model as a Hugging Face folder: safetensors, tokenizer, generation config."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from ste_ray.training.distributed import rank


def export_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Gather the whole model on rank 0 and write it there; every rank must call this.

    The folder loads with plain ``AutoModelForCausalLM`` and ``AutoTokenizer``.
    """
    # With full_state_dict, only rank 0 gets the tensors.
    state = get_model_state_dict(
        model, options=StateDictOptions(full_state_dict=True, cpu_offload=True)
    )
    if rank() != 0:
        return
    # A shell without weights, because sharding has changed the class of the model itself.
    with torch.device("meta"):
        shell = AutoModelForCausalLM.from_config(model.config)
    shell.config.use_cache = True  # it is off in training only
    shell.generation_config = _generation_config(model, tokenizer)
    shell.save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)


def _generation_config(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> GenerationConfig:
    config = GenerationConfig.from_model_config(model.config)
    config.bos_token_id = tokenizer.bos_token_id
    config.eos_token_id = tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    config.do_sample = False
    return config

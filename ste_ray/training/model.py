"""Causal language models to fine-tune: loaded from Hugging Face folders, or a small Llama.

The layers to shard are found by the model's structure, so that no architecture is named here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from ste_ray.config import ModelConfig
from ste_ray.errors import ConfigError, SteRayError


def build_model(
    config: ModelConfig, tokenizer: PreTrainedTokenizerFast, seed: int
) -> PreTrainedModel:
    """Build a small Llama with random weights that depend on ``seed`` alone; fp32, on the CPU.

    Raises:
        ConfigError: the hidden size cannot be divided among the heads.
    """
    if config.hidden_size % (2 * config.num_heads):
        raise ConfigError(
            f"train.model.hidden_size={config.hidden_size!r} must be a multiple of twice"
            f" train.model.num_heads={config.num_heads!r}"
        )
    llama = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=_intermediate_size(config.hidden_size),
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_heads,
        max_position_embeddings=config.max_positions,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(llama)


def load_model(base: str) -> PreTrainedModel:
    """Load a causal model from a folder or hub name: safetensors only, no remote code, fp32.

    Raises:
        ConfigError: it is missing, not in safetensors, or no causal language model.
    """
    try:
        return AutoModelForCausalLM.from_pretrained(
            base, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"cannot load train.model.base={base!r}: {reason}; give a folder or hub name of a"
            " causal language model with weights in safetensors"
        ) from None


def check_positions(model: PreTrainedModel, max_tokens: int) -> None:
    """Check that rows of ``max_tokens`` fit the positions the model was made for.

    Raises:
        ConfigError: they do not.
    """
    config: Any = model.config.get_text_config()
    limit: int | None = getattr(config, "max_position_embeddings", None)
    if limit is not None and max_tokens > limit:
        raise ConfigError(
            f"train.max_tokens={max_tokens!r} exceeds the {limit!r} positions of the model; lower"
            " it or, for a model built here, raise train.model.max_positions"
        )


def transformer_layers(model: PreTrainedModel) -> list[nn.Module]:
    """Return the transformer layers: the module list that is as long as the config says.

    Raises:
        SteRayError: the model has no such list.
    """
    config: Any = model.config.get_text_config()
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers:
            return list(module)
    raise SteRayError(
        f"{type(model).__name__!r} has no list of {config.num_hidden_layers!r} layers to shard;"
        " use a decoder-only transformer"
    )


def num_parameters(model: nn.Module) -> int:
    """Return the number of parameters, tied ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _intermediate_size(hidden_size: int) -> int:
    # Llama's 8/3 of the hidden size, rounded up to a multiple of 8.
    return -(-hidden_size // 3) * 8

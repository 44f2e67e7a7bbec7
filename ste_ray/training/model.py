"""Causal language models to fine-tune: loaded from Hugging Face folders, or a small Llama.

The layers to shard are found by the model's structure, so that no architecture is named here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.initialization import no_init_weights

from ste_ray.errors import ConfigError
from ste_ray.training.config import ModelConfig

_UNUSABLE = (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError)


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


def load_model(
    folder: Path, dtype: torch.dtype = torch.float32, trust_remote_code: bool = False
) -> PreTrainedModel:
    """Load a causal model from a folder, onto the CPU: safetensors only.

    Raises:
        ConfigError: it is missing, not in safetensors, or no causal language model.
    """
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=trust_remote_code, dtype=dtype
        )
    except _UNUSABLE as error:
        raise _unusable(str(folder), error) from None


def empty_model(
    folder: Path,
    rows: int,
    dtype: torch.dtype = torch.float32,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Return the model of a folder with ``rows`` rows of vocabulary and uninitialised weights.

    Its memory is allocated but not touched, and buffers such as rotary frequencies are right, as
    they would not be on the meta device.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    config.get_text_config().vocab_size = rows
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(
            config, dtype=dtype, trust_remote_code=trust_remote_code
        )
    model.tie_weights()
    return model


def check_base(
    folder: Path,
    given: str,
    max_tokens: int,
    trust_remote_code: bool = False,
    *,
    weights: bool = True,
) -> int:
    """Check a model folder without loading its weights; return how many rows its vocabulary has.

    Args:
        folder: of the model.
        given: how it was named, for errors.
        max_tokens: of a training row.
        trust_remote_code: whether Python code that comes with it may run.
        weights: whether they are in the folder, so that they are looked at too.

    Raises:
        ConfigError: no causal language model of plain transformer layers, weights that are missing
            or not in safetensors, or fewer positions than ``max_tokens``.
    """
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
        if weights:
            _check_weights(folder)
    except _UNUSABLE as error:
        raise _unusable(given, error) from None
    check_positions(model, max_tokens)
    transformer_layers(model)
    return int(model.get_input_embeddings().weight.shape[0])


def _check_weights(folder: Path) -> None:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ValueError("it holds no weights in safetensors")
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                opened.keys()
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file.name!r} is damaged: {error}") from None


def _unusable(given: str, error: Exception) -> ConfigError:
    reason = " ".join(str(error).split())[:300]
    if "trust_remote_code" in str(error):
        return ConfigError(
            f"cannot use train.model.base={given!r}: it comes with Python code of its own; read it,"
            " and set trust_remote_code=true to run it"
        )
    return ConfigError(
        f"cannot use train.model.base={given!r}: {reason}; give a folder, hub name or run URI of a"
        " causal language model with weights in safetensors"
    )


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


def transformer_layers(model: nn.Module) -> list[nn.Module]:
    """Return the transformer layers: the module list that is as long as the config says.

    Raises:
        ConfigError: the model has no such list.
    """
    config: Any = model.config.get_text_config()  # type: ignore[union-attr, operator]
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers:
            return list(module)
    raise ConfigError(
        f"{type(model).__name__!r} has no list of {config.num_hidden_layers!r} layers to shard;"
        " use a decoder-only transformer"
    )


def num_parameters(model: nn.Module) -> int:
    """Return the number of parameters, tied ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _intermediate_size(hidden_size: int) -> int:
    # Llama's 8/3 of the hidden size, rounded up to a multiple of 8.
    return -(-hidden_size // 3) * 8

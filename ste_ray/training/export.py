"""Writes a model as a Hugging Face folder: safetensors, tokenizer, generation config, card."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from ste_ray.chat_tokens.served_toolkens.chat_template import with_toolkens
from ste_ray.chat_tokens.served_toolkens.response_template import toolken_responses
from ste_ray.errors import TrainingError
from ste_ray.process.model_folder import share_weights
from ste_ray.training.adapters import merged
from ste_ray.training.chat_format import ChatFormat
from ste_ray.training.distributed import rank


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a plain model and its tokenizer."""
    _finish(model, tokenizer)
    _write(model, tokenizer, folder)


def serve_toolkens(tokenizer: PreTrainedTokenizerFast, tools: Iterable[str], system: str) -> None:
    """Let a tokenizer's templates write and read calls as they were trained, in place.

    Args:
        tokenizer: with all toolkens.
        tools: those whose toolkens are in use.
        system: the system line of tool mode.
    """
    ends = [tokenizer.eos_token_id, ChatFormat(tokenizer).end_id]
    tokenizer.response_template = toolken_responses(tokenizer.convert_ids_to_tokens(ends))
    tokenizer.chat_template = with_toolkens(tokenizer, tools, system)


def export_model(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    to_fill: Callable[[], Any],
    retired: Sequence[int] = (),
    ends: Sequence[int] = (),
) -> bool:
    """Gather the whole model on rank 0 and write it there; every rank must call this.

    The folder loads with plain ``AutoModelForCausalLM`` and ``AutoTokenizer``; adapters are merged
    into the weights.

    Args:
        model: sharded or not.
        tokenizer: with all toolkens.
        folder: where to write.
        to_fill: makes an unsharded model of the same kind, in which frozen weights are set and
            others do not matter.
        retired: ids of toolkens that must not be generated.
        ends: tokens that end a reply, beside those that end any.

    Returns:
        Whether this rank wrote the folder.
    """
    # With full_state_dict, only rank 0 gets the tensors. Frozen ones may be here in a lower
    # precision than the base model has them.
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    state = get_model_state_dict(model, options=options)
    if rank() != 0:
        return False
    # Into a model of its own, because sharding has changed the class of this one.
    whole = to_fill()
    # That option leaves a frozen weight in under its further names, where it is tied.
    names = whole.named_parameters(remove_duplicate=False)
    frozen = {name for name, one in names if not one.requires_grad}
    state = {name: value for name, value in state.items() if name not in frozen}
    # Weights are taken over, not copied; but adapters of tied rows must stay in one place.
    found = whole.load_state_dict(state, assign=not isinstance(whole, PeftModel), strict=False)
    _check_complete(whole, found.missing_keys, found.unexpected_keys)
    plain = merged(whole)
    plain.tie_weights()
    _finish(plain, tokenizer, retired, ends)
    _write(plain, tokenizer, folder)
    return True


def _check_complete(whole: nn.Module, missing: Sequence[str], unexpected: Sequence[str]) -> None:
    trained = {name for name, one in whole.named_parameters() if one.requires_grad}
    if lost := sorted(trained.intersection(missing).union(unexpected)):
        raise TrainingError(
            f"the trained model cannot be written: {len(lost)} of its weights do not fit, such as"
            f" {lost[0]!r}; please report this"
        )


def _write(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    transformers_logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    share_weights(folder)


def _finish(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    retired: Sequence[int] = (),
    more_ends: Sequence[int] = (),
) -> None:
    model.config.use_cache = True  # it is off in training only
    config = GenerationConfig.from_model_config(model.config)
    ends = dict.fromkeys([tokenizer.eos_token_id, ChatFormat(tokenizer).end_id, *more_ends])
    config.bos_token_id = tokenizer.bos_token_id
    config.eos_token_id = list(ends) if len(ends) > 1 else tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    config.do_sample = False
    if retired:
        config.suppress_tokens = list(retired)
    model.generation_config = config

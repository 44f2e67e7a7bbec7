"""What of a model is trained: all of it, or by peft adapters and the toolkens' rows alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, TrainableTokensConfig, get_peft_model
from transformers import PreTrainedModel

from ste_ray.training.config import TrainConfig


def adapt(
    model: PreTrainedModel, config: TrainConfig, toolken_ids: Collection[int], seed: int
) -> PreTrainedModel | PeftModel:
    """Return the model with what ``train.mode`` trains; all else is frozen.

    In mode ``lora`` all linear layers but the head get low-rank adapters, and the toolkens' rows
    are trained; in mode ``toolkens`` those rows alone. Rows are those of the input embeddings and,
    where it is not tied to them, of the head too.
    """
    if config.mode == "full":
        return model
    rows = _toolken_rows(model, toolken_ids)
    adapter: Any
    if config.mode == "lora":
        adapter = PeftLoraConfig(
            task_type="CAUSAL_LM",
            r=config.lora.rank,
            lora_alpha=config.lora.alpha,
            lora_dropout=config.lora.dropout,
            target_modules="all-linear",
            trainable_token_indices=rows or None,
        )
    else:
        assert rows, "a training of toolkens alone needs some; it is laid out with a check"
        adapter = TrainableTokensConfig(
            task_type="CAUSAL_LM",
            target_modules=list(rows),
            token_indices=sorted(toolken_ids),
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Weights of one group must share a dtype to be sharded together.
        return get_peft_model(model, adapter, autocast_adapter_dtype=False)


def merged(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return a plain model with all that was trained in its weights; ``model`` is used up."""
    if isinstance(model, PeftModel):
        plain: PreTrainedModel = model.merge_and_unload()
        return plain
    return model


def _toolken_rows(model: PreTrainedModel, toolken_ids: Collection[int]) -> dict[str, list[int]]:
    if not toolken_ids:
        return {}
    ids = sorted(toolken_ids)
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    rows = {_name_of(model, embeddings): ids}
    if head is not None and head.weight is not embeddings.weight:
        rows[_name_of(model, head)] = ids
    return rows


def _name_of(model: PreTrainedModel, wanted: torch.nn.Module) -> str:
    # The last part of the name: peft looks modules up by how their names end.
    found = next(name for name, module in model.named_modules() if module is wanted)
    return str(found.rpartition(".")[2])

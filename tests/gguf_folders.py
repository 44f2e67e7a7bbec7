"""Tiny model folders of the architectures that go to GGUF, with toolkens and tokenizers' rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AddedToken,
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedTokenizerFast,
)
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from tests.gguf_models import CHAT_TEMPLATE, SPECIAL

TOOLKENS = ("<tool_add>", "<tool_get weather>", "<tool_Größe>", "<tool_天气>")
TEXTS = [
    "user asks 17 and Action: add",
    "two  spaces, 12  3456 and\n\n67 ünï – 漢字 🙂 it's -5 %",
    "<|im_start|>user\nhi<|im_end|>\n",
    "Action: <tool_add>\nAction Input: {} <tool_天气><tool_get weather> <tool_Größe>",
]
_SPLITS = {"llama-bpe": True, "dbrx": False, "tekken": True, "qwen2": False}


def gguf_tokenizer(rules: str = "smollm", toolkens: tuple[str, ...] = TOOLKENS) -> Any:
    """Return a byte-level BPE that cuts by llama.cpp's rules of that name, with toolkens."""
    backend: Any = Tokenizer(models.BPE(ignore_merges=_SPLITS.get(rules, False)))
    if rules in _SPLITS:
        split = pre_tokenizers.Split(Regex(GGUF_PRE_TOKENIZER_SPLITS[rules]), "isolated")
        parts = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        backend.pre_tokenizer = pre_tokenizers.Sequence(parts)
    elif rules == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        parts = [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
        backend.pre_tokenizer = pre_tokenizers.Sequence(parts)
    else:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if rules == "qwen2":
        backend.normalizer = normalizers.NFC()
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(
        [f"user asks {n} and Action: {n}  {n * 37}" for n in range(99)], trainer
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
    )
    tokenizer.add_tokens([AddedToken(one, special=False, normalized=False) for one in toolkens])
    return tokenizer


def save_folder(folder: Path, kind: str = "llama", tokenizer: Any = None, **values: Any) -> Any:
    """Write a tiny model of an architecture with random weights; return it.

    Args:
        folder: to write.
        kind: the name of its architecture at transformers.
        tokenizer: its own; else one by SmolLM's rules.
        values: of its configuration.
    """
    tokenizer = tokenizer or gguf_tokenizer()
    shape = {
        "vocab_size": len(tokenizer) + 3,  # as where a vocabulary is padded
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
        "initializer_range": 0.3,  # or it says the same token for ever
        "tie_word_embeddings": kind == "llama",
    }
    if kind == "mistral":
        shape["sliding_window"] = None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(shape | values)))
        for name, parameter in model.named_parameters():
            if name.endswith(".bias") or "norm" in name:  # else they are zeros and ones
                parameter.data.uniform_(0.5, 1.5)
    model.generation_config = GenerationConfig(
        bos_token_id=1, eos_token_id=[2, 0], pad_token_id=0, do_sample=False
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.eval()

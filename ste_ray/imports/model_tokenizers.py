"""The tokenizer of a GGUF file, mended where transformers and the file leave something out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers
from transformers import AutoTokenizer
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from ste_ray.errors import StageInputError
from ste_ray.imports.gguf_files import GgufFile

# Names of rules in GGUF files (llama.cpp's vocabulary types) that cut each digit off, then cut as
# GPT-2 does; and of those that are GPT-2's own.
_SINGLE_DIGITS = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"}
_AS_GPT2 = {"", "default", "gpt-2", "gpt2", "phi-2", "mpt", "olmo", "jais", "trillion"}

# Tokens that are there to pad with, the most telling first; the last ends a document in a
# vocabulary whose chats end with another token, and stands in no chat.
_PADDING = (
    "<pad>",
    "<|pad|>",
    "[PAD]",
    "<|padding|>",
    "<PAD>",
    "<|finetune_right_pad_id|>",
    "<unused0>",
    "<|reserved_special_token_0|>",
    "<|endoftext|>",
)
# What a tokenizer remembers of how it was loaded.
_NOISE = ("is_local", "local_files_only", "gguf_file", "name_or_path", "vocab_file")
_CONFIG_FILE = "tokenizer_config.json"


def imported_tokenizer(
    file: GgufFile, folder: str, name: str, config: Any
) -> tuple[Any, list[str]]:
    """Load the tokenizer of a file, and say what is to be known of it.

    Args:
        file: what its header says.
        folder: where it lies.
        name: what it is called there.
        config: of its model.

    Raises:
        StageInputError: it has none that transformers can build.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name, local_files_only=True)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StageInputError(
            f"the tokenizer of {str(file.path)!r} (of the kind {file.tokenizer!r}) cannot be"
            f" built: {reason}; use a file with the whole tokenizer of the model"
        ) from None
    notes = _mend_cutting(file, tokenizer)
    notes += _mend_padding(file, tokenizer)
    if not tokenizer.chat_template:
        notes.append("the file has no chat template; training then uses that of Llama 2 ([INST])")
    positions = getattr(config, "max_position_embeddings", None)
    if positions:
        tokenizer.model_max_length = positions
    return tokenizer, notes


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer without what it remembers of how it was loaded."""
    tokenizer.save_pretrained(folder)
    path = folder / _CONFIG_FILE
    values = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: value for name, value in values.items() if name not in _NOISE}
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _mend_cutting(file: GgufFile, tokenizer: Any) -> list[str]:
    """Cut texts before merging as the file says, where transformers does not know its rules."""
    rules = file.pre_tokenizer
    if file.tokenizer != "gpt2" or rules in _AS_GPT2 or rules in GGUF_PRE_TOKENIZER_SPLITS:
        return []
    if rules in _SINGLE_DIGITS:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        return []
    return [
        f"texts are cut into words by GPT-2's rules, since transformers does not know those of"
        f" {rules!r}: numbers and marks may become other tokens than in the original"
    ]


def _mend_padding(file: GgufFile, tokenizer: Any) -> list[str]:
    """Give padding a token of its own, if the vocabulary has a fitting one.

    The row of a padding token is not trained where it is read, and other programs leave it out of
    the loss: if it ends answers too, a model may not learn where to end.
    """
    ends = {tokenizer.eos_token_id, file.end_of_turn}
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id not in ends:
        return []
    taken = {*ends, tokenizer.bos_token_id}
    ids = tokenizer.get_vocab()
    special = {number for number, one in tokenizer.added_tokens_decoder.items() if one.special}
    for token in _PADDING:
        if ids.get(token) in special - taken:
            tokenizer.pad_token = token
            return [f"padding has the token {token!r} now, since the file pads with the end"]
    return [
        "padding has the token that ends an answer, since the vocabulary has none to spare; here"
        " padding is told apart by its place, but other programs may not"
    ]

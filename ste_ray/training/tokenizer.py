"""Tokenizers: a small one trained on the spot, or the one that belongs to a base model.

The small one is a BPE over ASCII that falls back to bytes for everything else, so that any text
survives a round trip. (In the usual byte-level alphabet, an added token such as ``<tool_Größe>``
does not: its letters are taken for bytes when it is decoded.) Before merging, text is cut into runs
of letters, JSON punctuation such as ``{"`` and ``": "``, and single other characters. A space is
always its own token and so is a digit: a value is then cut alike wherever it stands, which lets a
small model copy it from the query into the call.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ste_ray.chat_tokens.rendering import INST_TEMPLATE
from ste_ray.errors import ConfigError

BOS, EOS, PAD = "<|begin|>", "<|end|>", "<|pad|>"
ROLE_MARKERS = ("<|system|>", "<|user|>", "<|assistant|>")

_PIECES = r'\{"|": "|":"|": |", "|","|"\}|[A-Za-z]+|[\s\S]'
_ASCII = [chr(code) for code in range(128)]
# The bytes that UTF-8 uses beyond ASCII.
_BYTES = [f"<0x{byte:02X}>" for byte in (*range(0x80, 0xC0), *range(0xC2, 0xF5))]

_CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, max_positions: int
) -> PreTrainedTokenizerFast:
    """Train a BPE of at most ``vocab_size`` tokens, with a chat template.

    The result depends on the texts alone, and loads with plain ``AutoTokenizer``.
    """
    return PreTrainedTokenizerFast(
        tokenizer_object=_with_byte_fallback(_train_bpe(texts, vocab_size - len(_BYTES))),
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=list(ROLE_MARKERS),
        clean_up_tokenization_spaces=False,
        model_max_length=max_positions,
        chat_template=_CHAT_TEMPLATE,
    )


def _train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    # mypy knows the attributes of the compiled module as read-only.
    settable: Any = tokenizer
    settable.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    settable.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[PAD, BOS, EOS, *ROLE_MARKERS],
        initial_alphabet=_ASCII,
        limit_alphabet=len(_ASCII),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _with_byte_fallback(tokenizer: Tokenizer) -> Tokenizer:
    # The trainer cannot be told of tokens that are neither characters nor matched in the text.
    state = json.loads(tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    for byte in _BYTES:
        vocabulary[byte] = len(vocabulary)
    state["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(state))


def load_tokenizer(
    base: str, trust_remote_code: bool = False, given: str = ""
) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a base model, fit for training: with EOS, PAD and a chat template.

    Args:
        base: its folder, or hub name.
        trust_remote_code: whether Python code that comes with it may run.
        given: how the base was named, for errors; empty: like ``base``.

    Raises:
        ConfigError: there is none, or it has no end-of-sequence token.
    """
    given = given or base
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"cannot load the tokenizer of train.model.base={given!r}: {reason}; give a folder"
            " or hub name with a Hugging Face tokenizer"
        ) from None
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            f"the tokenizer of train.model.base={given!r} has no end-of-sequence token; set"
            " 'eos_token' in its tokenizer_config.json"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if not tokenizer.chat_template:
        tokenizer.chat_template = INST_TEMPLATE
    return tokenizer

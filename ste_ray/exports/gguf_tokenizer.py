"""A byte-level BPE tokenizer in the header of a GGUF file, as llama.cpp reads it.

llama.cpp cuts a text before merging by rules that it knows by name and cannot be told otherwise, so
a tokenizer with other rules is refused: its texts would become other tokens. Toolkens go as tokens
that a user defined, which llama.cpp matches in any text and writes out; special tokens it does not
write. The names of the rules are those of llama.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from ste_ray.chat_tokens.rendering import INST_TEMPLATE
from ste_ray.errors import StageInputError

if TYPE_CHECKING:
    from gguf import GGUFWriter

# By the expression that cuts, and whether a whole piece that is a token is taken without merging.
_SPLITS = {
    (GGUF_PRE_TOKENIZER_SPLITS["llama-bpe"], True): "llama-bpe",
    (GGUF_PRE_TOKENIZER_SPLITS["llama-bpe"], False): "dbrx",
    (GGUF_PRE_TOKENIZER_SPLITS["tekken"], True): "tekken",
    (GGUF_PRE_TOKENIZER_SPLITS["qwen2"], False): "qwen2",
}
_PROBE = "a"


class GgufTokenizer:
    """What a GGUF file says of a tokenizer.

    Args:
        tokenizer: of transformers.
        source: where it comes from, for errors.
        num_rows: of the model's embeddings; those beyond the tokenizer get names of their own.

    Attributes:
        tokens: by id, in the spelling of bytes, but added ones as they are.
        notes: what a user should know of it.

    Raises:
        StageInputError: llama.cpp would cut texts otherwise.
    """

    def __init__(self, tokenizer: Any, source: str, num_rows: int) -> None:
        self._tokenizer = tokenizer
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        self.rules = _rules(state)
        self.notes = _notes(state)
        if not self.rules:
            raise StageInputError(
                f"the tokenizer in {source!r} is not one of those byte-level BPEs whose rules"
                " llama.cpp knows by name (of GPT-2, SmolLM, Llama 3, Qwen 2 and Mistral Nemo);"
                " convert the folder with llama.cpp's own convert_hf_to_gguf.py"
            )
        added = tokenizer.added_tokens_decoder
        if (last := max(tokenizer.get_vocab().values())) >= num_rows:
            raise StageInputError(
                f"the tokenizer in {source!r} has a token {last}, its model only {num_rows}"
                " embeddings: they do not belong together; write both again with the train stage"
            )
        by_id = {number: token for token, number in tokenizer.get_vocab().items()}
        spare = _spare_names(by_id.values())
        self.tokens = [by_id.get(number) or next(spare) for number in range(num_rows)]
        self._special = {number for number, one in added.items() if one.special}
        self._added = set(added)
        self._used = set(by_id)
        self._merges = [" ".join(pair) for pair in state["model"]["merges"]]

    def add_to(self, writer: GGUFWriter, ends: Sequence[int]) -> None:
        """Write it.

        Args:
            writer: of a file whose header is not written yet.
            ends: the tokens that end an answer.
        """
        tokenizer = self._tokenizer
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.rules)
        writer.add_token_list(self.tokens)
        writer.add_token_types([self._type(number) for number in range(len(self.tokens))])
        writer.add_token_merges(self._merges)
        for number, add in (
            (tokenizer.bos_token_id, writer.add_bos_token_id),
            (tokenizer.eos_token_id, writer.add_eos_token_id),
            (tokenizer.pad_token_id, writer.add_pad_token_id),
            (tokenizer.unk_token_id, writer.add_unk_token_id),
        ):
            if number is not None:
                add(number)
        others = [number for number in ends if number != tokenizer.eos_token_id]
        # Two more may end an answer: one a turn, one a message of several.
        for number, add in zip(
            others, (writer.add_eot_token_id, writer.add_eom_token_id), strict=False
        ):
            add(number)
        if len(others) > 2:
            left_out = ", ".join(repr(self.tokens[number]) for number in others[2:])
            self.notes.append(f"the file cannot say that {left_out} end an answer too")
        before, after = _around(tokenizer)
        writer.add_add_bos_token(before)
        writer.add_add_eos_token(after)
        writer.add_chat_template(_template(tokenizer))

    def _type(self, number: int) -> int:
        from gguf import TokenType

        if number in self._special:
            return int(TokenType.CONTROL)
        if number in self._added:
            return int(TokenType.USER_DEFINED)
        return int(TokenType.NORMAL if number in self._used else TokenType.UNUSED)


def _rules(state: dict[str, Any]) -> str:
    """Return llama.cpp's name of how texts are cut; empty: it has none."""
    model, normalizer = state["model"], state["normalizer"]
    if model["type"] != "BPE" or model.get("byte_fallback") or model.get("dropout"):
        return ""
    if normalizer is not None and normalizer["type"] != "NFC":
        return ""
    cutter = state["pre_tokenizer"] or {}
    parts = cutter["pretokenizers"] if cutter.get("type") == "Sequence" else [cutter]
    *first, last = parts
    if last.get("type") != "ByteLevel" or last["add_prefix_space"]:
        return ""
    ignores_merges = bool(model.get("ignore_merges"))
    if last["use_regex"]:
        if ignores_merges:
            return ""
        if not first:
            return "gpt-2"
        return "smollm" if first == [{"type": "Digits", "individual_digits": True}] else ""
    if len(first) != 1 or first[0].get("type") != "Split":
        return ""
    (split,) = first
    if split["behavior"] != "Isolated" or split["invert"]:
        return ""
    return _SPLITS.get((split["pattern"].get("Regex", ""), ignores_merges), "")


def _notes(state: dict[str, Any]) -> list[str]:
    if state["normalizer"] is None:
        return []
    return [
        "llama.cpp does not compose letters and accents (NFC) as the tokenizer does; most programs"
        " write them composed"
    ]


def _spare_names(taken: Any) -> Iterator[str]:
    """Yield names for rows without a token, which no text becomes."""
    known = set(taken)
    number = 0
    while True:
        if (name := f"[PAD{number}]") not in known:
            yield name
        number += 1


def _around(tokenizer: Any) -> tuple[bool, bool]:
    """Return whether the tokenizer puts its first and its last token around a text."""
    plain = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    ids = tokenizer(_PROBE)["input_ids"]
    begins = len(ids) > len(plain) and ids[0] == tokenizer.bos_token_id
    return begins, len(ids) > len(plain) and ids[-1] == tokenizer.eos_token_id


def _template(tokenizer: Any) -> str | list[dict[str, str]]:
    template = tokenizer.chat_template or INST_TEMPLATE
    if isinstance(template, str):
        return template
    return [{"name": name, "template": text} for name, text in template.items()]

"""Tiny models with random weights and a byte-level tokenizer, written as GGUF files.

The files are written as llama.cpp's converter does it, with the library of that project.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEXTS = [f"user asks {n} and Action: add Final Answer: {n}  {n}" for n in range(50)]


@dataclass(frozen=True)
class Packed:
    """A GGUF file and what it was made of.

    Attributes:
        path: of the file.
        model: with the weights as the file holds them.
        tokenizer: as the file describes it.
    """

    path: Path
    model: Any
    tokenizer: Any


def save_gguf(
    path: Path,
    kind: str = "llama",
    stored: str = "F32",
    leave_out: str = "",
    fields: dict[str, str] | None = None,
    filler: int = 0,
) -> Packed:
    """Write a tiny model.

    Args:
        path: of the file to make.
        kind: ``llama`` (tied embeddings, fewer key heads than heads) or ``qwen2`` (untied, biases).
        stored: the type in which matrices are written, of ``gguf.GGMLQuantizationType``.
        leave_out: the name of a tensor in the file that is not written.
        fields: further or other texts of the header.
        filler: number of texts in the header that mean nothing, but take time to read.
    """
    import gguf
    import torch

    tokenizer = _tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = _model(kind, len(tokenizer))
    config = model.config
    writer = gguf.GGUFWriter(path, kind)
    texts = {"general.name": "Tiny 1k Lc Mix Ep2", "tokenizer.ggml.pre": "smollm"}
    for name, text in (texts | (fields or {})).items():
        writer.add_string(name, text)
    writer.add_array("general.tags", ["none"] * filler or ["tiny"])
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, tokenizer)
    _add_weights(writer, model, kind, stored, leave_out)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Packed(path, model.eval(), tokenizer)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=286,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|im_start|>", eos_token="<|im_end|>"
    )


def _model(kind: str, vocabulary: int) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        kind,
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
        rms_norm_eps=1e-5,
        initializer_range=0.3,  # or it says the same token for ever
        tie_word_embeddings=kind == "llama",
    )
    model = AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias") or "norm" in name:  # else they are zeros and ones
            parameter.data.uniform_(0.5, 1.5)
    return model


def _add_tokenizer(writer: Any, tokenizer: Any) -> None:
    import json

    import gguf

    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    kinds = [
        gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens
    ]
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(CHAT_TEMPLATE)


def _add_weights(writer: Any, model: Any, kind: str, stored: str, leave_out: str) -> None:
    import gguf
    import torch
    from gguf import quants

    arch = {one: number for number, one in gguf.MODEL_ARCH_NAMES.items()}[kind]
    names = gguf.get_tensor_name_map(arch, model.config.num_hidden_layers)
    config, of_matrices = model.config, gguf.GGMLQuantizationType[stored]
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, parameter in model.named_parameters():
        base, _, suffix = name.rpartition(".")
        packed_name = f"{names.get_name(base)}.{suffix}"
        written = parameter.detach().numpy()
        own = of_matrices if written.ndim == 2 else gguf.GGMLQuantizationType.F32
        written = quants.quantize(written, own)
        parameter.data = torch.from_numpy(quants.dequantize(written, own).copy())
        part = base.rpartition(".")[2]
        if kind == "llama" and part in heads:  # rotary positions of pairs, not of halves
            halves = written.reshape(heads[part], 2, -1, *written.shape[1:])
            written = halves.swapaxes(1, 2).reshape(written.shape)
        if packed_name == leave_out:
            continue
        writer.add_tensor(packed_name, written.copy(), raw_dtype=own)

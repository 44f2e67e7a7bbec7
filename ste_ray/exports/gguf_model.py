"""A model folder as a GGUF file, for llama.cpp and what is built upon it.

Written with the library of llama.cpp's own project, which knows the names of its tensors; only
architectures whose files llama.cpp was seen to answer from as transformers does. For others there
is llama.cpp's convert_hf_to_gguf.py, which comes with its source and in no package of that project.
The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from ste_ray.core import layout
from ste_ray.errors import ConfigError, StageInputError
from ste_ray.exports.gguf_tokenizer import GgufTokenizer
from ste_ray.exports.gguf_weights import (
    ARCHITECTURES,
    CONVERTER,
    add_shape,
    check_config,
    stored_type,
    tensors_of,
    write_tensors,
)

_OF_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}
_FILE_TYPES = {
    "f32": "ALL_F32",
    "f16": "MOSTLY_F16",
    "bf16": "MOSTLY_BF16",
    "q8_0": "MOSTLY_Q8_0",
}
# What transformers raises for a folder that it cannot use.
_UNUSABLE = (
    *(OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, TypeError),
    SafetensorError,
)


@dataclass(frozen=True)
class ExportedModel:
    """What was written.

    Attributes:
        name: of the model in the file.
        architecture: as GGUF names it.
        parameters: their number, tied ones counted once.
        vocabulary: number of tokens, those added included.
        added_tokens: those that stand for themselves in any text, such as toolkens.
        pre_tokenizer: llama.cpp's name of how texts are cut.
        stored_types: of the tensors, by ggml's names, the most frequent first.
        num_bytes: of the file.
        notes: what a user should know of it.
    """

    name: str
    architecture: str
    parameters: int
    vocabulary: int
    added_tokens: int
    pre_tokenizer: str
    stored_types: str
    num_bytes: int
    notes: tuple[str, ...]


def export_gguf(
    folder: Path, path: Path, kind: str, name: str, progress: Callable[[str], None]
) -> ExportedModel:
    """Write the model of a folder to a GGUF file at ``path``.

    Args:
        folder: with configuration, weights as safetensors, and tokenizer.
        path: of the file.
        kind: of matrices: ``f32``, ``bf16``, ``f16``, ``q8_0``, or ``auto``: as the folder
            stores them; vectors are F32 in any case.
        name: of the model, in the file.
        progress: is given lines that tell what is done.

    Raises:
        StageInputError: the folder holds no model, or one that cannot be written so.
        ConfigError: the library that writes the file is missing.
    """
    library = _library()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    config, tokenizer = _described(folder)
    check_config(config, str(folder))
    progress(f"export: reading {str(folder)!r} ({config.model_type})")
    model = _loaded(folder)
    kind = _OF_DTYPES[model.dtype] if kind == "auto" else kind
    words = GgufTokenizer(tokenizer, str(folder), model.get_input_embeddings().weight.shape[0])
    architecture = ARCHITECTURES[config.model_type]
    writer = library.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_file_type(library.LlamaFileType[_FILE_TYPES[kind]])
    writer.add_quantization_version(library.GGML_QUANT_VERSION)
    add_shape(writer, config, len(words.tokens))
    words.add_to(writer, _ends(model))
    tensors = [
        (gguf_name, values, stored_type(values, kind))
        for gguf_name, values in tensors_of(model, architecture, str(folder))
    ]
    progress(f"export: writing {len(tensors)} tensors")
    write_tensors(writer, tensors)
    added = [one for one in tokenizer.added_tokens_decoder.values() if not one.special]
    types = Counter(stored.name for _, _, stored in tensors)
    return ExportedModel(
        name=name,
        architecture=architecture,
        parameters=model.num_parameters(),
        vocabulary=len(tokenizer),
        added_tokens=len(added),
        pre_tokenizer=words.rules,
        stored_types=", ".join(one for one, _ in types.most_common()),
        num_bytes=path.stat().st_size,
        notes=(*words.notes, *_suppressed(model, words.tokens)),
    )


def _library() -> Any:
    try:
        import gguf
    except ImportError:
        raise ConfigError(
            "to write a GGUF file the package gguf is needed; install it with"
            " \"pip install 'ste-ray[gguf]'\""
        ) from None
    return gguf


def _described(folder: Path) -> tuple[Any, Any]:
    """Return configuration and tokenizer, which are checked before weights are read."""
    if not (folder / "config.json").is_file():
        raise StageInputError(
            f"the folder {str(folder)!r} has no config.json; give a whole model folder, as the"
            f" train stage writes it (RUN/{layout.TUNED_MODEL})"
        )
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except _UNUSABLE as error:
        raise StageInputError(
            f"the config.json in {str(folder)!r} cannot be read: {_reason(error)}; {CONVERTER}"
        ) from None
    try:
        return config, AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except _UNUSABLE as error:
        raise StageInputError(
            f"cannot load the tokenizer in {str(folder)!r}: {_reason(error)}; give a whole model"
            " folder"
        ) from None


def _loaded(folder: Path) -> Any:
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype="auto",
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except _UNUSABLE as error:
        raise StageInputError(
            f"cannot load the model in {str(folder)!r}: {_reason(error)}; it must be a Hugging Face"
            " folder of a causal language model with safetensors"
        ) from None
    lacking = sorted(map(str, [*loading["missing_keys"], *loading["mismatched_keys"]]))
    if lacking:
        shown = ", ".join(map(repr, lacking[:3]))
        raise StageInputError(
            f"the weights in {str(folder)!r} lack {len(lacking)} tensors of the model, among them"
            f" {shown}; write the folder again"
        )
    return model


def _ends(model: Any) -> list[int]:
    ids = model.generation_config.eos_token_id
    found = ids if isinstance(ids, list) else [ids]
    return [number for number in found if number is not None]


def _suppressed(model: Any, tokens: list[str]) -> list[str]:
    retired = model.generation_config.suppress_tokens or []
    if not retired:
        return []
    shown = ", ".join(repr(tokens[number]) for number in retired[:3])
    return [
        f"the folder keeps {len(retired)} retired tokens from being generated, among them {shown};"
        " the file cannot say so: give them a 'logit_bias' of false in requests to llama-server"
    ]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

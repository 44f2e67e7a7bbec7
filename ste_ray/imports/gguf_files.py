"""GGUF files as they lie on the disk: found, checked, and what their header says.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ste_ray.errors import ConfigError, StageInputError

if TYPE_CHECKING:
    from gguf import GGUFReader

_MAGIC = b"GGUF"
_ROPE_FACTORS = "rope_freqs.weight"
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
# What the reader raises when a length or a type makes no sense.
_DAMAGED = (ValueError, IndexError, KeyError, OverflowError, TypeError, MemoryError)


@dataclass(frozen=True)
class GgufFile:
    """What the header of a GGUF file says.

    Attributes:
        path: of the file.
        architecture: as GGUF names it, such as ``llama``.
        name: of the model; empty: it has none.
        types: how many tensors are stored in which type, by ggml's names of these.
        tokenizer: the kind of its tokenizer, such as ``gpt2``, and ``pre_tokenizer``, by whose
            rules a text is cut before merging; empty: not said.
        end_of_turn: id of the token that ends a turn of a chat, if it says so.
        rope_scaling: how rotary positions are scaled; empty: they are not.
        rope_factor: by what, where it is the same for all frequencies; 0: not said.
        rope_factors: by what each frequency is divided, the highest first; empty: not said.
        head_size: numbers in a key of one attention head; 0: not said.
    """

    path: Path
    architecture: str
    name: str
    types: dict[str, int]
    tokenizer: str
    pre_tokenizer: str
    end_of_turn: int | None
    rope_scaling: str
    rope_factor: float = 0.0
    rope_factors: tuple[float, ...] = ()
    head_size: int = 0

    @property
    def types_text(self) -> str:
        """The types of the tensors, the most frequent first."""
        ordered = sorted(self.types, key=lambda name: -self.types[name])
        return ", ".join(ordered)


def find_gguf(source: str) -> Path:
    """Return the GGUF file that ``source`` is, or the only one in the folder that it is.

    Raises:
        StageInputError: there is none, or more than one, or it is a part of a model.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if one.suffix.lower() == ".gguf")
        if not found:
            raise StageInputError(f"the folder {source!r} holds no .gguf file; name one that does")
        if len(found) > 1 and not all(_num_parts(one) > 1 for one in found):
            names = ", ".join(repr(one.name) for one in found)
            raise StageInputError(f"the folder {source!r} holds {names}; name one of these files")
        path = found[0]
    if not path.is_file():
        raise StageInputError(f"there is no file {source!r}; give a .gguf file or its folder")
    if (parts := _num_parts(path)) > 1:
        raise _in_parts(str(path), parts)
    return path


def _num_parts(path: Path) -> int:
    """Return how many files the model of a file is in, by its name."""
    part = _PART.search(path.name)
    return int(part[2]) if part else 1


def read_gguf(path: Path) -> GgufFile:
    """Read the header of a file, and check that all its tensors are there.

    Raises:
        StageInputError: it is no GGUF file, damaged, or a part of a model.
        ConfigError: the library that reads it is not installed.
    """
    _check_magic(path)
    library = _library(path)
    try:
        return _header(path, library.GGUFReader(path))
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:200]
        raise StageInputError(
            f"{str(path)!r} is damaged or cut off ({reason}); get the file again"
        ) from None


def _header(path: Path, reader: GGUFReader) -> GgufFile:
    """Return what the header says; texts in it are decoded only here."""
    architecture = _text(reader, "general.architecture")
    if not architecture:
        raise StageInputError(
            f"{str(path)!r} does not name its architecture; it is damaged, or holds no model"
        )
    if (parts := _value(reader, "split.count") or 0) > 1:
        raise _in_parts(str(path), parts)
    return GgufFile(
        path=path,
        architecture=architecture,
        name=_text(reader, "general.name"),
        types=dict(Counter(tensor.tensor_type.name for tensor in reader.tensors)),
        tokenizer=_text(reader, "tokenizer.ggml.model"),
        pre_tokenizer=_text(reader, "tokenizer.ggml.pre"),
        end_of_turn=_value(reader, "tokenizer.ggml.eot_token_id"),
        rope_scaling=_rope_scaling(reader, architecture),
        rope_factor=float(_value(reader, f"{architecture}.rope.scaling.factor") or 0.0),
        rope_factors=_rope_factors(reader),
        head_size=int(_value(reader, f"{architecture}.attention.key_length") or 0),
    )


def _check_magic(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
    except OSError as error:
        raise StageInputError(f"cannot read {str(path)!r}: {error.strerror}") from None
    if magic != _MAGIC:
        raise StageInputError(
            f"{str(path)!r} is no GGUF file: it begins with {magic!r}, not with {_MAGIC!r}"
        )


def _library(path: Path) -> Any:
    try:
        import gguf
    except ImportError:
        raise ConfigError(
            f"to read {str(path)!r} the package gguf is needed; install it with"
            " \"pip install 'ste-ray[gguf]'\""
        ) from None
    return gguf


def _value(reader: GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    return field.contents() if field is not None else None


def _text(reader: GGUFReader, key: str) -> str:
    value = _value(reader, key)
    return value if isinstance(value, str) else ""


def _rope_scaling(reader: GGUFReader, architecture: str) -> str:
    names = {tensor.name for tensor in reader.tensors}
    if _ROPE_FACTORS in names:
        return "by frequency"
    if any(name.startswith("rope_factors_") for name in names):
        return "by frequency and length"
    kind = _text(reader, f"{architecture}.rope.scaling.type")
    return "" if kind == "none" else kind


def _rope_factors(reader: GGUFReader) -> tuple[float, ...]:
    for tensor in reader.tensors:
        if tensor.name == _ROPE_FACTORS:
            return tuple(map(float, tensor.data))
    return ()


def _in_parts(path: str, parts: int) -> StageInputError:
    return StageInputError(
        f"{path!r} is a part of a model of {parts} files, which transformers does not read; join"
        " them with 'llama-gguf-split --merge FIRST_PART OUT.gguf'"
    )

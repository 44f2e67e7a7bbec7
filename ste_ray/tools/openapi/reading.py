"""Reads the text of an OpenAPI document, JSON or YAML, as plain JSON of a bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ste_ray.errors import ToolSpecError
from ste_ray.tools.openapi.texts import shortened
from ste_ray.tools.spec.schema_texts import load_schemas
from ste_ray.yaml_loader import DuplicateKeyError, load_json

_MAX_NODES = 2_000_000  # GitHub's description has about 260,000
_MAX_DEPTH = 200
_ERROR_CHARS = 300


def file_text(path: Path) -> str:
    """Return what stands in a file.

    Raises:
        ToolSpecError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ToolSpecError(
            f"cannot read the OpenAPI document {str(path)!r}: {error}; give a JSON or YAML file"
        ) from None


def contents_of(source: str, text: str) -> dict[str, Any]:
    """Return the object that a document is, from its text; ``source`` is what messages call it.

    Raises:
        ToolSpecError: it is neither JSON nor YAML, no object, or too large.
    """
    try:
        value = _json_or_yaml(text)
    except RecursionError:
        raise ToolSpecError(f"{source!r} is nested too deeply; split the document") from None
    except (ValueError, yaml.YAMLError) as error:
        detail = shortened(" ".join(str(error).split()), _ERROR_CHARS)
        raise ToolSpecError(
            f"{source!r} is neither JSON nor YAML: {detail}; give an OpenAPI 3.0 or 3.1 document"
        ) from None
    return _plain(source, value)


def _json_or_yaml(text: str) -> Any:
    if text.lstrip().startswith("{"):
        try:
            return load_json(text)
        except DuplicateKeyError:
            raise
        except ValueError:
            pass  # YAML, too, may begin with a brace
    return load_schemas(text, text_keys=True)


def _plain(source: str, value: Any) -> dict[str, Any]:
    """Return a copy with text as keys: in YAML, status codes are often numbers.

    YAML can hold itself, or become huge by repetition; both are refused.
    """
    if not isinstance(value, Mapping):
        shown = type(value).__name__
        raise ToolSpecError(
            f"{source!r} holds a {shown}, not an object; give an OpenAPI 3.0 or 3.1 document"
        )
    left = [_MAX_NODES]

    def copied(node: Any, depth: int) -> Any:
        left[0] -= 1
        if left[0] < 0 or depth > _MAX_DEPTH:
            raise ToolSpecError(
                f"{source!r} is nested more than {_MAX_DEPTH} deep, or has more than {_MAX_NODES} "
                "values; split the document"
            )
        if isinstance(node, Mapping):
            return {_key(key): copied(child, depth + 1) for key, child in node.items()}
        if isinstance(node, list | tuple):
            return [copied(child, depth + 1) for child in node]
        return node

    plain: dict[str, Any] = copied(value, 0)
    return plain


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)

"""Read a configuration: a YAML file, then ``section.key=value`` overrides.

What is wrong is told in one line that names the place, the value and what is allowed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import ValidationError

from ste_ray.config.root import Config, config_keys
from ste_ray.core.section import Section
from ste_ray.core.texts.nearest import listed, nearest
from ste_ray.errors import ConfigError
from ste_ray.yaml_loader import DuplicateKeyError, load_yaml

# Sections and keys, also those that users name themselves, such as models and servers.
_DOTTED = re.compile(r"[\w-]+(\.[\w-]+)+")
_MAX_HINTS = 3  # a name that stands in more sections tells nothing


def load_config(
    file: str | None = None,
    overrides: Sequence[str] = (),
    below: Mapping[str, Any] | None = None,
) -> Config:
    """Read a YAML file and apply ``section.key=value`` overrides (values are YAML).

    Args:
        file: the YAML file; None: there is none.
        overrides: over what the file says.
        below: values by section, which hold where neither says otherwise, in place of the defaults.

    Raises:
        ConfigError: the file is missing or no YAML, a key is unknown, or a value is refused.
    """
    values: dict[str, Any] = _over(below or {}, {} if file is None else _read_yaml(Path(file)))
    for override in overrides:
        _apply_override(values, override)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, file)) from None


def is_override(text: str) -> bool:
    """Whether a text is meant as ``section.key=value``, right or not, and not as a sentence."""
    key, separator, _ = text.partition("=")
    return bool(separator) and (key in Config.model_fields or _DOTTED.fullmatch(key) is not None)


def _over(below: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with what is only in ``below``, section by section."""
    merged = {**below, **values}
    for name, under in below.items():
        value = values.get(name, {})
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            merged[name] = _over(under, value)
    return merged


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            f"no configuration file {str(path)!r}; give --config an existing YAML file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read configuration file {str(path)!r}: {error}") from None
    try:
        values = load_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise ConfigError(f"{str(path)!r} is no valid YAML: {detail}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{str(path)!r} must hold sections such as 'explore:', not {values!r}")
    return {key: value for key, value in values.items() if value is not None}  # bare headings


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(
            f"{override!r} is no override; write section.key=value, e.g. explore.max_turns=3"
        )
    try:
        value = load_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        detail = f": {error}" if isinstance(error, DuplicateKeyError) else ""
        raise ConfigError(f"the value of override {override!r} is no valid YAML{detail}") from None
    *sections, last = key.split(".")
    for section in sections:
        if values.get(section) is None:
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise ConfigError(f"{override!r}: {section!r} is a value, not a section")
    values[last] = value


def _explain(error: ValidationError, file: str | None) -> str:
    where = f"configuration {file!r}" if file else "configuration"
    # A misspelt key is unknown and may leave another one missing: the former tells more.
    problem = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    path = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        return _explain_unknown_key(path, where)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "model_type":
        message = "must be a section with keys of its own"
    elif problem["type"] == "tuple_type":
        message = "must be a list, such as [a, b]"
    return f"{where}: {'.'.join(path) or 'the file'}={problem['input']!r}: {message}"


def _explain_unknown_key(path: list[str], where: str) -> str:
    key, model = ".".join(path), _section_of(path)
    if path[-1] in model.retired:
        return f"{where}: {key!r} {model.retired[path[-1]]}"
    allowed = sorted(model.model_fields)
    close = (
        _elsewhere(path[-1], cutoff=1.0)
        or nearest(path[-1], allowed)
        or _elsewhere(path[-1], cutoff=0.8)
    )
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    known = listed(allowed, "docs/configuration.md")
    return f"{where}: unknown key {key!r}; {hint}allowed here: {known}"


def _section_of(path: Sequence[str]) -> type[Section]:
    model: Any = Config
    for part in path[:-1]:
        # In a mapping such as llm.prices the keys are the user's own.
        mapped = get_origin(model) is dict
        model = get_args(model)[1] if mapped else model.model_fields[part].annotation
    section: type[Section] = model
    return section


def _elsewhere(name: str, cutoff: float) -> list[str]:
    """Return the keys that are called ``name``, or nearly so, in the sections nearest the top."""
    keys: dict[str, list[str]] = {}
    for key, _ in config_keys():
        keys.setdefault(key.rpartition(".")[2], []).append(key)
    close = difflib.get_close_matches(name, keys, n=1, cutoff=cutoff)
    found = keys[close[0]] if close else []
    depth = min((key.count(".") for key in found), default=0)
    highest = [key for key in found if key.count(".") == depth]
    return highest if len(highest) <= _MAX_HINTS else []

"""The secrets that a process has been given, found by how they are named.

Whoever prints or stores a text that others had a part in masks these: keys of endpoints and tools,
credentials of the object storage, Ray's token, passwords in the addresses of proxies and databases.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ste_ray.core.texts.masking import Masker, is_placeholder

SECRETS_FOLDER = "STE_SECRETS_DIR"
_WORDS = frozenset(
    {
        "APIKEY",
        "BEARER",
        "CREDENTIAL",
        "CREDENTIALS",
        "PASSPHRASE",
        "PASSWD",
        "PASSWORD",
        "PAT",
        "SECRET",
        "TOKEN",
    }
)
# Such names say where something is, what it is called, or how it is used.
_NO_SECRETS = frozenset(
    {"DIR", "ENABLED", "ENV", "FILE", "HOST", "ID", "LIMIT", "MODE", "NAME", "PATH", "TYPE", "URI"}
)
_MAX_FILE_BYTES = 65_536


def environment_secrets(
    environment: Mapping[str, str], names: Collection[str] = ()
) -> dict[str, str]:
    """Return secret values, each with the mark that stands for it.

    Args:
        environment: variables; the files in the folder that ``STE_SECRETS_DIR`` names belong to it.
        names: of variables that hold secrets, whatever they are called.
    """
    marks: dict[str, str] = {}
    for name, value in environment.items():
        if name in names or _names_secret(name):
            _add(marks, name, value)
        elif "://" in value and "@" in value:
            for password in _passwords(value):
                _add(marks, name, password)
    for path in _secret_files(environment.get(SECRETS_FOLDER, "")):
        _add(marks, path.name, _read(path))
    return marks


def environment_masker(names: Collection[str] = ()) -> Masker:
    """Return what masks the secrets of this process; see ``environment_secrets``."""
    return Masker(environment_secrets(os.environ, names))


def _add(marks: dict[str, str], name: str, value: str) -> None:
    value = value.strip()
    # A word that stands for "no key" is no secret, and texts hold it by chance.
    if not is_placeholder(value):
        marks.setdefault(value, f"[secret {name}]")


def _names_secret(name: str) -> bool:
    words = name.upper().split("_")
    if words[-1] in _NO_SECRETS:
        return False
    return words[-1] == "KEY" or not _WORDS.isdisjoint(words)


def _passwords(address: str) -> list[str]:
    try:
        password = urlsplit(address).password or ""
    except ValueError:
        return []
    return [password, unquote(password)]


def _secret_files(folder: str) -> list[Path]:
    try:
        return [path for path in Path(folder).iterdir() if path.is_file()] if folder else []
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8") if path.stat().st_size <= _MAX_FILE_BYTES else ""
    except (OSError, UnicodeDecodeError):
        return ""

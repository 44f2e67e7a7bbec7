"""Names of tools as function calling takes them: letters, digits, ``_`` and ``-``, at most 64.

A name that is allowed is kept. Any other is cleaned and ends in ``__`` and eight hexadecimal
digits of its hash, so that the safe name depends on nothing but the name. An allowed name that
ends so too is treated like the others: no kept name can be taken for a made one.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from ste_ray.errors import ToolSpecError

MAX_CHARS = 64
_ALLOWED = re.compile(rf"[a-zA-Z0-9_-]{{1,{MAX_CHARS}}}")
_MADE = re.compile(r"__[0-9a-f]{8}\Z")
_HASH_CHARS = 8
_TO_REPLACE = re.compile(r"[^a-zA-Z0-9_-]+")
_NO_LETTERS = "tool"  # where nothing of a name is left


def safe_name(name: str) -> str:
    """Return the name that stands for the tool ``name`` in function calls.

    It is the same wherever and whenever it is made. Applied to a made name it makes another one.

    Raises:
        ValueError: the name is empty.
    """
    if not name:
        raise ValueError("a tool needs a name to have a safe name")
    if _ALLOWED.fullmatch(name) and not _MADE.search(name):
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:_HASH_CHARS]
    return f"{_cleaned(name)}__{digest}"


class SafeNames:
    """The safe names of some tools, each of which stands for one name only.

    Args:
        names: of the tools; one that comes twice counts once.

    Raises:
        ToolSpecError: two names would get the same safe name; the chance is one in four thousand
            million for each pair of names that are cleaned to the same text.
        ValueError: a name is empty.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._safe = {name: safe_name(name) for name in names}
        originals: dict[str, str] = {}
        for name, safe in self._safe.items():
            other = originals.setdefault(safe, name)
            if other != name:
                raise ToolSpecError(
                    f"the tools {other!r} and {name!r} would both be called {safe!r} in function "
                    "calls; rename one of them"
                )

    def safe(self, name: str) -> str:
        """Return the safe name of a tool. Raises KeyError for an unknown tool."""
        return self._safe[name]


def _cleaned(name: str) -> str:
    # Accents fall off, so that a name in another European language can still be read.
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    text = _TO_REPLACE.sub("_", plain).strip("_")
    return text[: MAX_CHARS - _HASH_CHARS - len("__")] or _NO_LETTERS

"""JSON in one form, and what identifies values and texts by it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

# What is stored never holds itself, and looking out for that costs a fifth of the time.
_CANONICAL = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), check_circular=False
)


def canonical_json(value: Any) -> str:
    """Return ``value`` as compact JSON with sorted keys, the form that is hashed and compared."""
    return _CANONICAL.encode(value)


def fingerprint(*parts: Any) -> str:
    """Return a 16-digit hexadecimal SHA-256 of the canonical JSON of ``parts``."""
    return hashlib.sha256(canonical_json(parts).encode(errors="surrogatepass")).hexdigest()[:16]


def text_fingerprint(*texts: str) -> str:
    """Return a 16-digit hexadecimal SHA-256 of texts, faster than ``fingerprint``."""
    data = "".join(f"{len(text)}:{text}" for text in texts)
    return hashlib.sha256(data.encode(errors="surrogatepass")).hexdigest()[:16]

"""What an error body says, in all the shapes that servers give it; what it means is ``refusals``.

OpenAI's ``{"error": {...}}``, vLLM's flat one, ``{"error": "text"}``, ``{"detail": ...}``, lists,
JSON inside of texts, HTML and plain text are read alike: by what the keys are called, wherever
they stand. Pure functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ste_ray.core.texts.surrogates import without_halves

# Bodies come from outside: neither their depth nor their length may cost time.
_MAX_DEPTH = 8
_MAX_NODES = 400
_MAX_TEXT_CHARS = 2000
_MAX_READ_CHARS = 8000
_MAX_SHORT_PAGE_CHARS = 200
# Keys are compared in lower case and without ``_`` and ``-``.
_CODE_KEYS = {"code", "type", "errortype", "errorcode", "errcode", "status", "statuscode", "kind"}
_CODE_KEYS |= {"reason", "blockreason", "name"}
_MESSAGE_KEYS = {"message", "msg", "error", "errors", "errormessage", "errormsg", "errmsg", "raw"}
_MESSAGE_KEYS |= {"statusmsg", "statusmessage", "detail", "details", "title", "description"}
_MESSAGE_KEYS |= {"text", "reasons", ""}
_PARAMETER_KEYS = {"param", "parameter", "loc", "field", "path"}
_FILTER_KEYS = {"contentfilterresult", "contentfilterresults", "flaggedinput", "flaggedcategories"}
_FILTER_KEYS |= {"blockreason", "promptfeedback", "safetyratings", "reasons"}
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]{0,300}>", re.DOTALL | re.IGNORECASE)


@dataclass(slots=True)
class ErrorBody:
    """What an error body says, whatever its shape.

    Attributes:
        codes: codes, types and statuses, normalised (``INVALID_ARGUMENT`` is ``invalid_argument``).
        message: all that is said in words.
        parameter: the field of the request that is named, with dots; empty: none.
        filtered: whether the body holds what only a content filter says.
    """

    codes: list[str] = field(default_factory=list)
    message: str = ""
    parameter: str = ""
    filtered: bool = False

    @property
    def code_text(self) -> str:
        """The codes as one text."""
        return " ".join(self.codes)


def read_error(text: str) -> ErrorBody:
    """Read an error body: JSON of any of the known shapes, HTML, or plain text."""
    found = ErrorBody()
    value = _json_of(text)
    if value is None:
        found.message = _plain(text)
        return found
    said: list[str] = []
    for key, leaf in _leaves(value):
        _note(key, leaf, found, said)
    found.message = without_halves("; ".join(dict.fromkeys(said))[:_MAX_TEXT_CHARS]) or _plain(text)
    found.codes = list(map(without_halves, found.codes))
    found.parameter = without_halves(found.parameter)
    return found


def _json_of(text: str) -> Any:
    """Return the JSON object or list in a text; None: there is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield key and value of a body's inner parts, outer ones first; items have their list's key.

    A text that is JSON itself, as gateways pass on what they were told, is looked into as well.
    """
    queue: list[tuple[str, Any, int]] = [("", value, 0)]
    for _ in range(_MAX_NODES):
        if not queue:
            return
        key, current, depth = queue.pop(0)
        if isinstance(current, str) and current.lstrip()[:1] in ("{", "["):
            current = _json_of(current) or current
        if depth > _MAX_DEPTH:
            continue
        if isinstance(current, dict):
            yield key, current
            items = list(current.items())[:_MAX_NODES]
            queue += [(_bare_key(name), inner, depth + 1) for name, inner in items]
        elif isinstance(current, list):
            yield key, current
            queue += [(key, inner, depth + 1) for inner in current[:_MAX_NODES]]
        else:
            yield key, current


def _bare_key(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


def _note(key: str, value: Any, found: ErrorBody, said: list[str]) -> None:
    """Sort one part of a body into what is known of it."""
    if key in _FILTER_KEYS:
        found.filtered = found.filtered or _says_filtered(value)
    if key in _PARAMETER_KEYS and not found.parameter:
        if isinstance(value, list):
            found.parameter = ".".join(str(part) for part in value if isinstance(part, str | int))
        elif isinstance(value, str) and "/" not in value:  # the path of an address is none
            found.parameter = value[:200]
    if isinstance(value, bool) or not isinstance(value, str | int):
        return
    if key in _CODE_KEYS:
        found.codes.append(_code(value))
    elif isinstance(value, str) and key in _MESSAGE_KEYS and value.strip():
        said.append(_plain(value))


def _says_filtered(value: Any) -> bool:
    """Whether the part of a body that a filter wrote says that it held something back."""
    if not isinstance(value, dict | list):
        return bool(value)
    flags = [inner for name, inner in _leaves(value) if name in ("filtered", "blocked")]
    return any(flag is True for flag in flags) if flags else bool(value)


def _code(value: str | int) -> str:
    """Return a code in lower case, its words joined by ``_``."""
    text = str(value)[:200].rpartition("#")[2]
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower()).strip("_")


def _plain(text: str) -> str:
    """Return a text in one line; a whole page without its markup."""
    is_page = "<" in text and len(text) > _MAX_SHORT_PAGE_CHARS
    bare = _TAGS.sub(" ", text[:_MAX_READ_CHARS]) if is_page else text
    words = (bare if bare.strip() else text)[:_MAX_READ_CHARS].split()
    return " ".join(words)[:_MAX_TEXT_CHARS]

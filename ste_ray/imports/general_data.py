"""General instruction data, to be trained on beside tools.

A file is a JSON list, or JSON lines (one object a line; ``.jsonl``), also gzipped, of

* ``{"dialog_history": [{"role": …, "content": …}, …], "response": …}``, as in the published study,
* or chat rows ``{"messages": [{"role": …, "content": …}, …]}`` whose last message is the response.

JSON lines are read one by one; a list is read as a whole. Files that ship with the project go by
their names without an ending.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

from ste_ray.core.records import Message
from ste_ray.core.texts.nearest import did_you_mean
from ste_ray.errors import ConfigError

Dialog = tuple[Message, ...]
_ROLES = ("system", "user", "assistant")
_FORMS = "'dialog_history' and 'response', or 'messages'"


class GeneralData:
    """The examples of one file, as dialogs and responses; can be iterated more than once.

    A row that cannot be used is left out and counted in ``skipped``, by reason.

    Args:
        name: of a shipped file, or the path of a local one.
        shipped: the folder of the shipped ones; None: there are none.
    """

    def __init__(self, name: str, shipped: Path | None = None) -> None:
        files = sorted(shipped.glob("*.jsonl")) if shipped else []
        self._shipped = {path.stem: path for path in files}
        self._path = str(self._shipped.get(name, name))
        self.skipped: Counter[str] = Counter()

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the file's content.

        Raises:
            ConfigError: the file cannot be read.
        """
        digest = hashlib.sha256()
        with self._opened() as stream:
            while block := stream.read(2**20):
                digest.update(block)
        return digest.hexdigest()[:16]

    def __iter__(self) -> Iterator[tuple[Dialog, str]]:
        """Yield the examples in order.

        Raises:
            ConfigError: the file cannot be read, is no JSON, or has no row that can be used.
        """
        self.skipped.clear()
        num_good = 0
        for row in self._rows():
            found = _example(row)
            if isinstance(found, str):
                self.skipped[found] += 1
            else:
                num_good += 1
                yield found
        if not num_good:
            reasons = "; ".join(f"{count} x {what}" for what, count in self.skipped.most_common(3))
            raise ConfigError(
                f"general data {self._path!r} holds no example ({reasons or 'it has no rows'}); "
                f"its rows must be objects with {_FORMS}"
            )

    def _rows(self) -> Iterator[Any]:
        name = self._path.removesuffix(".gz")
        with self._opened() as raw:
            packed = name != self._path
            stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
            try:
                if name.endswith((".jsonl", ".ndjson")):
                    for line in stream:
                        if line.strip():
                            yield _parsed(line)
                else:
                    yield from self._list(stream.read())
            except (OSError, EOFError) as error:  # what gzip says of damaged files
                raise ConfigError(
                    f"cannot read general data {self._path!r}: {error}; give a JSON list or JSON "
                    "lines, plain or gzipped (.gz)"
                ) from None

    def _list(self, data: bytes) -> list[Any]:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"general data {self._path!r} is no JSON ({error}); JSON lines must be named .jsonl"
            ) from None
        if not isinstance(value, list):
            raise ConfigError(
                f"general data {self._path!r} must be a JSON list of rows with {_FORMS}, not a "
                f"{type(value).__name__}"
            )
        return value

    def _opened(self) -> IO[bytes]:
        if "://" in self._path:
            raise ConfigError(
                f"general data {self._path!r}: only files on the machine of the command can be "
                "read; copy it there"
            )
        try:
            return Path(self._path).open("rb")
        except OSError as error:
            names = ", ".join(self._shipped)
            shipped = f", the name of a shipped one ({names})" if names else ""
            raise ConfigError(
                f"cannot read general data {self._path!r}{did_you_mean(self._path, self._shipped)}"
                f" ({error.strerror}); give "
                f"prepare.mix.general_data an existing file{shipped}, or leave it empty"
            ) from None


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _example(row: Any) -> tuple[Dialog, str] | str:
    """Return the dialog and the response of a row, or why it has none."""
    if not isinstance(row, dict):
        return "a row that is no JSON object"
    messages = row.get("messages", row.get("dialog_history"))
    if not isinstance(messages, list):
        return f"a row without {_FORMS}"
    dialog = []
    for message in messages:
        read = _message(message)
        if isinstance(read, str):
            return read
        dialog.append(read)
    if "messages" in row:
        if not dialog or dialog[-1].role != "assistant":
            return "messages that do not end with the assistant's"
        response = dialog.pop().content
    else:
        response = _text(row.get("response")) or ""
    if not response.strip():
        return "an empty response"
    if not dialog or dialog[-1].role != "user":
        return "a dialog that does not end with the user's turn"
    return tuple(dialog), response


def _message(message: Any) -> Message | str:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in _ROLES:
        return f"a message with role {str(role)[:40]!r} (allowed: {', '.join(_ROLES)})"
    content = _text(message.get("content"))
    if content is None or message.get("tool_calls"):
        return "a message whose content is no text"
    return Message(role=role, content=content)


def _text(content: Any) -> str | None:
    """Return content as text; of several parts, their texts joined."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content:
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return "".join(map(str, texts))
    return None

"""Reads a reply while it is decoded, by the ``response_template`` of the model's tokenizer.

This is how ``transformers serve`` reads, so that a folder answers alike under both. What cannot be
read as the call that it begins like is given as the text that it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tokenizers.decoders import DecodeStream
from transformers.utils.chat_parsing import ResponseParser

_REASONING = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True)
class Piece:
    """What a reply goes on with.

    Attributes:
        kind: a text for the user, one that the model thinks, or a call.
        text: the text; of a call its arguments, as JSON text.
        name: of the called tool.
    """

    kind: Literal["content", "reasoning", "call"]
    text: str
    name: str = ""


class ReplyReader:
    """Reads one reply.

    Args:
        tokenizer: a fast one.
        template: by which replies are read; None: all is text.
        prompt: what the model was shown, as text.
        tools: that were offered; without any, what looks like a call is text.
        names: of tools in the request, by those that the model writes where they differ.

    Attributes:
        problem: why what looked like a call is given as text; empty: nothing was.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: Mapping[str, Any] | None,
        prompt: str,
        tools: Sequence[Mapping[str, Any]],
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._stream = DecodeStream([], skip_special_tokens=template is None)
        self._specials = tuple(tokenizer.all_special_tokens)
        self._parser = (
            ResponseParser(dict(template), prefix=prompt, tools=list(tools)) if template else None
        )
        self._names = names or {}
        self._written = ""
        self._calls = bool(tools)
        self._given = 0  # characters of what was written that were given
        self.problem = ""

    def feed(self, token: int) -> list[Piece]:
        """Return what one more token of the reply tells."""
        text = self._stream.step(self._backend, token)
        if not text:
            return []
        self._written += text
        if self._parser is None:
            return self._text(text)
        try:
            return self._pieces(self._parser.feed(text))
        except (ValueError, KeyError, TypeError) as error:
            return self._as_text(error)

    def finish(self) -> list[Piece]:
        """Return what the end of the reply tells."""
        if self._parser is None:
            return []
        try:
            return self._pieces(self._parser.finalize()[1])
        except (ValueError, KeyError, TypeError) as error:
            return self._as_text(error)

    def _as_text(self, error: Exception) -> list[Piece]:
        self.problem = " ".join(str(error).split())
        self._parser = None
        return self._text(self._written[self._given :])

    def _text(self, text: str) -> list[Piece]:
        for special in self._specials:
            text = text.replace(special, "")
        return [Piece("content", text)] if text else []

    def _pieces(self, events: Sequence[Mapping[str, Any]]) -> list[Piece]:
        found = []
        for event in events:
            field = event.get("field")
            if event["type"] == "region_chunk" and not event.get("dirty"):
                text = event.get("text") or ""
                self._given = self._written.index(text, self._given) + len(text)
                if field in _REASONING:
                    found.append(Piece("reasoning", text))
                elif field == "content":
                    found.append(Piece("content", text))
            elif event["type"] == "region_close" and field == "tool_calls":
                value = event["value"]
                listed = value if isinstance(value, list) else [value]
                calls = [_call(one, self._names) for one in listed]
                written, self._given = self._written[self._given :], len(self._written)
                found += calls if self._calls else self._text(written)
        return found


def _call(value: Mapping[str, Any], names: Mapping[str, str]) -> Piece:
    function = value["function"]
    name, arguments = function["name"], function["arguments"]
    if not isinstance(name, str):
        raise ValueError(f"a call names no tool but {name!r}")
    if isinstance(arguments, str):
        arguments = json.loads(arguments or "{}")
    if not isinstance(arguments, dict):
        raise ValueError(f"the arguments of a call are {arguments!r}, no object")
    return Piece("call", json.dumps(arguments, ensure_ascii=False), names.get(name, name))

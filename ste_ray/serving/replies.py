"""Reads a reply while it is decoded, by the ``response_template`` of the model's tokenizer.

This is how ``transformers serve`` reads, so that a folder answers alike under both. What cannot be
read as the call that it begins like is given as the text that it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from tokenizers.decoders import DecodeStream
from transformers.utils.chat_parsing import ResponseParser
from transformers.utils.chat_parsing.response_templates import load_response_template

_REASONING = ("reasoning_content", "reasoning", "thinking")
_CALLS = "tool_calls"
# What parsers raise at what is no call; a model can nest its arguments as deep as it likes.
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


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
        left_out: whether the reply was cut within a call, which is not given.
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
        self._names = names or {}
        self._offered = bool(tools)
        self._parser: ResponseParser | None = None
        self._form: Any = None
        self._call: _Begun | None = None
        self._given = 0  # characters of what was written that were given, or passed over
        self._written, self._prompted = "", 0
        self._joined_by, self._has_content = "", False
        self.problem, self.left_out = "", False
        if template is not None:
            loaded = load_response_template(dict(template))
            # The parser reads the end of the prompt too, which may open a part of the reply.
            self._written = loaded.truncate_past_last_anchor(prompt)
            self._prompted = len(self._written)
            self._form = loaded.fields.get(_CALLS)
            self._joined_by = getattr(loaded.fields.get("content"), "join", None) or ""
            self._new_parser = partial(ResponseParser, loaded, prefix=prompt, tools=list(tools))
            self._parser = self._new_parser()
            self._pieces(self._parser.initial_events)

    def feed(self, token: int) -> list[Piece]:
        """Return what one more token of the reply tells."""
        text = self._stream.step(self._backend, token)
        if not text:
            return []
        self._written += text
        if self._parser is None:
            return self._text(text)
        try:
            events = self._parser.feed(text)
        except _UNREADABLE as error:
            return self._as_text(error)
        return self._pieces(events)

    def finish(self, *, is_cut: bool = False) -> list[Piece]:
        """Return what the end of the reply tells.

        Args:
            is_cut: whether it had as many tokens as it may: half a call is then neither a call nor
                a text for the user.
        """
        if self._parser is None:
            return []
        if is_cut and self._offered:
            if self._call is not None:
                return self._of_cut_call(self._call.end)
            if self._opens_call(self._given):
                self.left_out = True
                return []
        try:
            events = self._parser.finalize()[1]
        except _UNREADABLE as error:
            return self._as_text(error)
        return self._pieces(events)

    def _of_cut_call(self, end: int) -> list[Piece]:
        """Return the call that is being written, if it lacks nothing but marks behind it."""
        close = self._form.close_re
        is_closed = bool(close and close.search(self._written, end))
        held = "" if is_closed else self._written[end:]  # begins the marks behind it, or a call
        self.left_out = bool(held) and self._opens_call(end)
        if is_closed or self._form.content == "json":  # half of which cannot be read
            parser = self._new_parser()
            parser.feed(self._written[self._prompted : len(self._written) - len(held)])
            try:
                events = parser.finalize()[1]
                closed = [one["value"] for one in events if one["type"] == "region_close"]
                return self._calls(closed[-1])
            except (*_UNREADABLE, IndexError):
                pass
        self.left_out = True
        return []

    def _opens_call(self, start: int) -> bool:
        """Whether the reply ends within the marks that open a call, from a place on."""
        if self._form is None or self._form.open_re is None:
            return False
        opening = self._form.open_re.search(self._written, start, partial=True)
        return bool(opening and opening[0].strip())

    def _calls(self, value: Any) -> list[Piece]:
        listed = value if isinstance(value, list) else [value]
        return [_call(one, self._names) for one in listed]

    def _as_text(self, error: Exception) -> list[Piece]:
        self.problem = " ".join(str(error).split()) or type(error).__name__
        self._parser = None
        start = self._call.start if self._call else self._given
        return self._text(self._written[max(start, self._prompted) :])

    def _text(self, text: str) -> list[Piece]:
        for special in self._specials:
            text = text.replace(special, "")
        return [Piece("content", text)] if text else []

    def _pieces(self, events: Sequence[Mapping[str, Any]]) -> list[Piece]:
        found: list[Piece] = []
        for event in events:
            field, text = event["field"], event.get("text") or ""
            if field == _CALLS:
                try:
                    found += self._of_call(event)
                except _UNREADABLE as error:
                    return found + self._as_text(error)
            elif event["type"] == "region_chunk" and not event.get("dirty"):
                text = self._replied(text)
                if not text:
                    continue
                if field in _REASONING:
                    found.append(Piece("reasoning", text))
                elif field == "content":
                    found.append(Piece("content", text))
                    self._has_content = True
            elif event["type"] == "region_open" and field == "content" and self._has_content:
                found += self._text(self._joined_by)
        return found

    def _replied(self, text: str) -> str:
        """Return what of a part of the text the model wrote, and pass over all of it."""
        place = self._written.find(text, self._given)
        if place < 0:
            return text
        self._given = place + len(text)
        return text[max(0, self._prompted - place) :]

    def _of_call(self, event: Mapping[str, Any]) -> list[Piece]:
        """Return what an event of a call tells; raises what cannot be read."""
        if event["type"] == "region_open" or self._call is None:
            opening = self._form.open_re and self._form.open_re.search(self._written, self._given)
            start, end = opening.span() if opening else (self._given, self._given)
            self._call = _Begun(start, end)
        if event["type"] == "region_chunk":
            self._call.end += len(event["text"])
        if event["type"] != "region_close":
            return []
        calls = self._calls(event["value"])
        start, end = self._call.start, self._call.end
        closing = self._form.close_re and self._form.close_re.match(self._written, end)
        self._given, self._call = closing.end() if closing else end, None
        return calls if self._offered else self._text(self._written[start : self._given])


@dataclass
class _Begun:
    """A call that is being written: where it begins, and how far it has come."""

    start: int
    end: int


def _call(value: Mapping[str, Any], names: Mapping[str, str]) -> Piece:
    function = value["function"]
    name, arguments = function["name"], function["arguments"]
    if not isinstance(name, str):
        raise ValueError(f"a call names no tool but {name!r}")
    if isinstance(arguments, str):
        arguments = json.loads(arguments or "{}")
    if not isinstance(arguments, dict):
        raise ValueError(f"the arguments of a call are {arguments!r}, no object")
    # Some parsers read numbers that JSON does not have.
    text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    return Piece("call", text, names.get(name, name))

"""What a template writes for the assistant's message, found by rendering probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ste_ray.chat_tokens.call_forms.differences import shared_end, shared_start
from ste_ray.chat_tokens.call_forms.probes import (
    IDS,
    KEYS,
    NAMES,
    RENDERING_ERRORS,
    REQUEST,
    TEXT,
    VALUES,
    Given,
    Render,
    asked,
    call,
    calling,
)
from ste_ray.core.replies.reasoning import separate


class FormError(Exception):
    """A form cannot be derived; the message says what was tried, in one line."""


@dataclass(frozen=True)
class Turns:
    """Renders the assistant's messages of one template.

    Attributes:
        render: of the template.
        given: how messages that call are given to it.
        tools: what it is shown.
    """

    render: Render
    given: Given
    tools: Sequence[Mapping[str, Any]]

    @cached_property
    def prompt(self) -> str:
        """What is written behind the request where the assistant's message begins."""
        return self.behind_request(None)

    @cached_property
    def request_end(self) -> str:
        """What is written behind the request where nothing follows it."""
        return self._rendered(asked(), False)

    def behind_request(self, message: Mapping[str, Any] | None) -> str:
        """Return what is written behind the request, up to the end of the message.

        Args:
            message: the assistant's; None: up to where it begins.

        Raises:
            FormError: the template fails, or does not write the request.
        """
        if message is None:
            return self._rendered(asked(), True)
        return self._rendered(asked(message), False)

    def _rendered(self, messages: Sequence[Mapping[str, Any]], add_prompt: bool) -> str:
        try:
            text = self.render(messages, self.tools, add_prompt)
        except RENDERING_ERRORS as error:
            raise FormError(f"{type(error).__name__}: {_one_line(error)}") from None
        _, found, behind = text.rpartition(REQUEST)
        if not found:
            raise FormError("a request is not written as it is")
        return behind

    def one(self, arguments: Any, *, text: str = "", name: str = NAMES[0]) -> str:
        """Return what is written for a message with one call."""
        made = call(name, arguments, as_text=self.given.as_text)
        return self.behind_request(calling(made, text=text, null=self.given.null))

    def two(self, first: Any, second: Any, *, text: str = "") -> str:
        """Return what is written for a message with two calls."""
        pairs = zip(NAMES, (first, second), IDS, strict=True)
        as_text = self.given.as_text
        made = [call(name, given, one, as_text=as_text) for name, given, one in pairs]
        return self.behind_request(calling(*made, text=text, null=self.given.null))

    def reply(self, behind_request: str) -> str:
        """Return what of a rendering a model would have written behind the prompt."""
        if behind_request.startswith(self.prompt):
            return behind_request[len(self.prompt) :]
        head, _, _ = self.behind_request({"role": "assistant", "content": TEXT}).partition(TEXT)
        starts = (shared_start(behind_request, one) for one in (self.prompt, head))
        return behind_request[len(max(starts, key=len)) :]


@dataclass(frozen=True)
class Outline:
    """The first marked call as it was written, and what stands around it.

    Attributes:
        written: behind the request.
        opens: where the opening begins in it.
        name: where the name stands in it.
        tail: what is written behind a text of the assistant.
        keeps_text: whether the text of a message that calls is written before its calls.
    """

    written: str
    opens: int
    name: int
    tail: str
    keeps_text: bool

    @property
    def closes(self) -> int:
        """Where the end of the turn begins."""
        whole = len(self.written)
        ends = bool(self.tail.strip()) and self.written.endswith(self.tail)
        return whole - len(self.tail) if ends else whole


def outline(turns: Turns) -> Outline:
    """Find a marked call.

    Raises:
        FormError: the template writes none.
    """
    _, found, tail = turns.behind_request({"role": "assistant", "content": TEXT}).partition(TEXT)
    if not found:
        raise FormError("a text of the assistant is not written as it is")
    written = turns.one({KEYS[0]: VALUES[0]})
    # Some templates show the tools behind the request.
    name = written.find(NAMES[0], len(shared_start(written, turns.prompt)))
    if name < 0 or VALUES[0] not in written[name:]:
        raise FormError("calls are not written")
    before = written[:name]
    gap = _between_text_and_name(turns)
    own = separate(turns.reply(before)).content
    opening = own if gap is None else shared_end(gap, before)
    opens = name - len(opening.lstrip())
    if opens == 0:  # the end of the request's message belongs to that
        opens = len(shared_start(written, turns.request_end))
    return Outline(written, opens, name, tail, gap is not None)


def _between_text_and_name(turns: Turns) -> str | None:
    """Return what stands between the text of a message and the name of its call."""
    try:
        written = turns.one({KEYS[0]: VALUES[0]}, text=TEXT)
    except FormError:
        return None
    before, found, behind = written.partition(TEXT)
    if not found or NAMES[0] in turns.reply(before) or NAMES[0] not in behind:
        return None
    return behind[: behind.index(NAMES[0])]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]

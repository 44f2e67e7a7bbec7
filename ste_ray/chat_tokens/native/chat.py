"""Conversations with tools as text and as token ids, and the labels of what a model should write.

Contents stay text whatever they hold, as in ``encoding``: also arguments of calls, what tools
returned, and what tools say of themselves.

The labels of an example are its last message, with what ends it: what that adds to the rendering of
its prompt at inference. They are proven: read back as the message that it is, and their tokens
decode to its text. Marks of a template (``{% generation %}``) are not asked, since they may leave
out what stands between that prompt and them, which a model would never learn to write.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

from ste_ray.chat_tokens.call_forms.probes import RENDERING_ERRORS, TOOLS, answered, asked
from ste_ray.chat_tokens.encoding import written_markers
from ste_ray.chat_tokens.native.label_text import response
from ste_ray.chat_tokens.native.messages import Conversation, conversation
from ste_ray.chat_tokens.native.response_template import response_template
from ste_ray.chat_tokens.native.template_tools import (
    TemplateTools,
    renderer,
    tools_of,
)
from ste_ray.chat_tokens.structure import Hidden, any_of, escaped, structure_tokens
from ste_ray.core.native_calls.grammar import stop_texts
from ste_ray.core.records import Message
from ste_ray.errors import ToolTemplateError


@dataclass(frozen=True, slots=True)
class LabelledIds:
    """A conversation as token ids.

    Attributes:
        input_ids: of the whole conversation.
        is_label: for each, whether the model is to predict it.
    """

    input_ids: list[int]
    is_label: list[bool]


class NativeChat:
    """Writes conversations with tools as a tokenizer's chat template does.

    Args:
        tokenizer: of transformers, with all its tokens added.
        template: another chat template; None: its own.
        name_of: how a tool is called here; given its true name.

    Attributes:
        facts: what the template does with tools.

    Raises:
        NoToolsError: the template knows no tools.
        ToolTemplateError: it does, but how it writes calls cannot be told.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: str | None = None,
        name_of: Callable[[str], str] = str,
    ) -> None:
        self._tokenizer = tokenizer
        self._name_of = name_of
        self._tokens = structure_tokens(tokenizer, len(tokenizer))
        self.facts: TemplateTools = tools_of(tokenizer, template)
        self._template = self.facts.template
        self._render = renderer(tokenizer, self._template)

    def with_options(self, options: Mapping[str, Any]) -> NativeChat:
        """Return what writes likewise, with these variables of the template."""
        found = copy.copy(self)
        found._render = renderer(self._tokenizer, self._template, options)
        return found

    def text(
        self,
        dialog: Sequence[Message],
        offered: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
    ) -> str:
        """Return a conversation as the template writes it.

        Args:
            dialog: the messages.
            offered: the tools, as ``chat_tool`` returns them.
            add_generation_prompt: whether it ends where the assistant's next message begins.

        Raises:
            ToolTemplateError: the template refuses it.
        """
        return self._text(self._conversation(dialog, offered), add_generation_prompt)

    def prompt(self, dialog: Sequence[Message], offered: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the token ids of a conversation, up to where the model's reply begins.

        Raises:
            ToolTemplateError: the template refuses it.
        """
        spoken = self._conversation(dialog, offered)
        return self._encoded(spoken, lambda one: [(self._text(one, True), False)]).input_ids

    def example(
        self, dialog: Sequence[Message], offered: Sequence[Mapping[str, Any]]
    ) -> LabelledIds:
        """Return a conversation whose last message is the label, behind its prompt at inference.

        Raises:
            ToolTemplateError: the template refuses it, or what the assistant says cannot be told
                from the rest.
        """
        spoken = self._conversation(dialog, offered)
        if spoken.messages[-1]["role"] != "assistant":
            raise ToolTemplateError("the last message is not the assistant's; nothing is learned")

        def cut(one: Conversation) -> list[tuple[str, bool]]:
            prompt, written = response(one, self._text, self.facts.form)
            return [(prompt, False), (written, True)]

        return self._encoded(spoken, cut)

    def stop_ids(self) -> tuple[int, ...]:
        """Return the tokens that end a reply: of the turn, and of the calls if none may follow."""
        found = []
        for text in stop_texts(self.facts.form):
            begin = [token for token in self._tokens.ids if token and text.startswith(token)]
            if begin:
                found.append(self._tokens.ids[max(begin, key=len)])
        return tuple(dict.fromkeys(found))

    def kept_tokens(self) -> frozenset[str]:
        """Return the tokens that must stay in what is decoded, for calls to be read from it."""
        texts = "\0".join(self.facts.form.texts())
        return frozenset(token for token in self._tokens.ids if token in texts)

    def response_template(self) -> dict[str, Any] | None:
        """Return what transformers and its server read replies by; None: it cannot.

        It belongs into the tokenizer's ``response_template`` where that has none.
        """
        return response_template(self.facts.form, self.facts.begins, self._tokenizer)

    def _conversation(
        self, dialog: Sequence[Message], offered: Sequence[Mapping[str, Any]]
    ) -> Conversation:
        return conversation(dialog, offered, self.facts, self._name_of)

    def _text(self, spoken: Conversation, add_generation_prompt: bool) -> str:
        try:
            return self._render(spoken.messages, spoken.tools, add_generation_prompt)
        except RENDERING_ERRORS as error:
            kind = "refuses" if isinstance(error, TemplateError) else "fails at"
            roles = ", ".join(message["role"] for message in spoken.messages)
            told = " ".join(str(error).split())
            raise ToolTemplateError(
                f"the chat template {kind} a dialog of the roles {roles} with {len(spoken.tools)}"
                f" tools ({type(error).__name__}: {told}); give the tokenizer one that takes it"
            ) from None

    def _encoded(
        self,
        spoken: Conversation,
        cut: Callable[[Conversation], list[tuple[str, bool]]],
    ) -> LabelledIds:
        spoken = self._with_markers_escaped(spoken)
        if not any(self._stands_in(text, own) for text, own in spoken.texts()):
            return self._plain(cut(spoken))
        hidden = Hidden("".join(text for text, _ in spoken.texts()))
        masked = spoken.rewritten(lambda text, own: self._hide(text, own, hidden))
        pieces = cut(masked)
        shown = [(hidden.show(text), label) for text, label in pieces]
        found = self._put_together(pieces, hidden) if shown == cut(spoken) else None
        if found is not None:
            return found
        pieces = cut(spoken.rewritten(self._escape))
        if any(label for _, label in pieces) and self._changes_labels(spoken):
            raise ToolTemplateError(
                "what the assistant writes holds a special token as text, which this tokenizer"
                " cannot write; leave the example out"
            )
        return self._plain(pieces)

    def _plain(self, pieces: list[tuple[str, bool]]) -> LabelledIds:
        found = self._put_together(pieces, None)
        assert found is not None, "only hidden contents can fail"
        return found

    def _changes_labels(self, spoken: Conversation) -> bool:
        return any(own and self._escape(text, own) != text for text, own in spoken.texts())

    def _put_together(
        self, pieces: list[tuple[str, bool]], hidden: Hidden | None
    ) -> LabelledIds | None:
        """Return pieces as token ids; None: it cannot be done with hidden contents."""
        ids: list[int] = []
        labels: list[bool] = []
        for text, label in pieces:
            if not text:
                continue
            own = self._native(text)
            found = own if hidden is None else self._tokens.encode(text, hidden, own)
            if found is None:
                return None
            if label:
                self._prove(found, text if hidden is None else hidden.show(text))
            ids += found
            labels += [label] * len(found)
        return LabelledIds(ids, labels)

    def _prove(self, ids: Sequence[int], text: str) -> None:
        decoded = self._tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        if "".join(decoded.split()) != "".join(text.split()):
            raise ToolTemplateError(
                f"the labels decode to {decoded[:80]!r} instead of {text[:80]!r}: the tokenizer"
                " cannot write this text"
            )

    def _native(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _stands_in(self, text: str, own: bool) -> bool:
        return self._tokens.stand_in(_as_message(text, own))

    def _hide(self, text: str, own: bool, hidden: Hidden) -> str:
        return self._tokens.hide(_as_message(text, own), hidden).content

    def _escape(self, text: str, own: bool) -> str:
        return self._tokens.escape(_as_message(text, own)).content

    def _with_markers_escaped(self, spoken: Conversation) -> Conversation:
        """Return the conversation in which nobody but the model writes the template's markers."""
        markers = self._markers
        if markers is None or not any(
            markers.search(text) for text, own in spoken.texts() if not own
        ):
            return spoken
        return spoken.rewritten(lambda text, own: text if own else escaped(markers, text))

    @cached_property
    def _markers(self) -> re.Pattern[str] | None:
        """What the template writes around calls and results as ordinary text."""
        texts = list(self.facts.form.texts())
        for messages in (asked(), answered(given=self.facts.given)):
            try:
                texts.append(self._render(messages, TOOLS[-1], True))
            except RENDERING_ERRORS:
                continue
        found = {marker for text in texts for marker in written_markers(text)}
        return any_of(found - set(self._tokens.ids))


def _as_message(text: str, own: bool) -> Message:
    return Message.model_construct(role="assistant" if own else "user", content=text)

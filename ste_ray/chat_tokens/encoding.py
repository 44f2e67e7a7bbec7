r"""Dialogs as token ids in which contents are text, whatever they hold.

A chat template writes special tokens such as ``<|im_end|>`` as text, so the same text in a request
or in what a tool returned would become the token, and end the turn. Here only what the template
itself writes becomes such tokens. The way: a copy of the tokenizer in which these tokens have other
texts. The rendered dialog gets those texts where the template wrote a token, and is then encoded by
the copy, to which the tokens' usual texts are text like any other. Nothing is cut apart, so all
pieces merge as they always do. Dialogs without such text are encoded as ever.

Where that is impossible (a tokenizer without a backend, a template that looks into contents), such
text gets a visible backslash, ``<|im_end|>`` → ``<\|im_end|>``. So does what a template writes as
ordinary text, such as ``[/INST]`` where it is no token.

``split_special_tokens`` of transformers is not enough: it leaves added tokens that are not special,
and Unigram models read ``</s>`` as the token nevertheless, since it is in their vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

from ste_ray.chat_tokens.structure import Hidden, any_of, escaped, replaced, structure_tokens
from ste_ray.core.records import Message
from ste_ray.errors import ConfigError

Render = Callable[[Sequence[Message]], str]

_PROBE = "ste-ray probe"
_PROBE_ROLES = (("user",), ("system", "user"), ("user", "assistant", "user"))
# What a template writes as ordinary text to mark turns: words in brackets.
_WRITTEN_MARKER = re.compile(r"<<?/?[^<>\s\[\]]{1,60}>>?|\[/?[A-Za-z_]{2,40}\]")


def written_markers(text: str) -> set[str]:
    """Return the words in brackets of a text that a template wrote."""
    return set(_WRITTEN_MARKER.findall(text))


class ChatEncoder:
    """Encodes dialogs and answers for a model.

    Args:
        tokenizer: of transformers, with all its tokens added.
        render: writes a dialog as the model's chat template does.
    """

    def __init__(self, tokenizer: Any, render: Render) -> None:
        self._tokenizer = tokenizer
        self._render = render
        self._tokens = structure_tokens(tokenizer, len(tokenizer))

    def dialogs(self, dialogs: Sequence[Sequence[Message]]) -> list[list[int]]:
        """Return the token ids of each dialog.

        In what the model wrote itself, its own tokens stay that are not special, such as toolkens.
        """
        written = [self._with_markers_escaped(dialog) for dialog in dialogs]
        return self._encode(written, self._render)

    def answers(self, texts: Iterable[str]) -> list[list[int]]:
        """Return the token ids of texts of the model; tokens in them stay, but special ones."""
        answers = [(Message.model_construct(role="assistant", content=text),) for text in texts]
        return self._encode(answers, lambda dialog: dialog[0].content)

    def _encode(self, dialogs: Sequence[Sequence[Message]], render: Render) -> list[list[int]]:
        suspicious = [
            any(self._tokens.stand_in(message) for message in dialog) for dialog in dialogs
        ]
        plain = [render(dialog) for dialog, odd in zip(dialogs, suspicious, strict=True) if not odd]
        encoded = iter(self._native(plain))
        return [
            self._with_contents_as_text(dialog, render) if odd else next(encoded)
            for dialog, odd in zip(dialogs, suspicious, strict=True)
        ]

    def _native(self, texts: list[str]) -> list[list[int]]:
        # The template writes the special tokens itself.
        if not texts:
            return []
        return [list(ids) for ids in self._tokenizer(texts, add_special_tokens=False)["input_ids"]]

    def _with_contents_as_text(self, dialog: Sequence[Message], render: Render) -> list[int]:
        hidden = Hidden("".join(message.content for message in dialog))
        masked = [self._tokens.hide(message, hidden) for message in dialog]
        text = render(masked)
        ids = None
        if hidden.show(text) == render(dialog):
            ids = self._tokens.encode(text, hidden, self._native([text])[0])
        return ids or self._native([render([self._tokens.escape(one) for one in dialog])])[0]

    def _with_markers_escaped(self, dialog: Sequence[Message]) -> Sequence[Message]:
        markers = self._written_markers
        if markers is None or not any(markers.search(message.content) for message in dialog):
            return dialog
        return [replaced(message, escaped(markers, message.content)) for message in dialog]

    @cached_property
    def _written_markers(self) -> re.Pattern[str] | None:
        """What the template writes around contents as ordinary text."""
        found = set()
        for roles in _PROBE_ROLES:
            try:
                text = self._render([Message(role=role, content=_PROBE) for role in roles])  # type: ignore[arg-type]
            except (TemplateError, ConfigError):
                continue
            found |= {
                match
                for piece in text.split(_PROBE)
                for match in written_markers(piece)
                if match not in self._tokens.ids
            }
        return any_of(found)

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

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any

from jinja2 import TemplateError

from ste_ray.core.records import Message
from ste_ray.core.toolkens import is_toolken
from ste_ray.errors import ConfigError

Render = Callable[[Sequence[Message]], str]

_PROBE = "ste-ray probe"
_PROBE_ROLES = (("user",), ("system", "user"), ("user", "assistant", "user"))
_TOOLKEN_START = "<tool_"
_RENAMED = "<zq-"
_MAX_ESCAPES = 3  # an escape within a marker can show another one
# What a template writes as ordinary text to mark turns: words in brackets.
_WRITTEN_MARKER = re.compile(r"<<?/?[^<>\s\[\]]{1,60}>>?|\[/?[A-Za-z_]{2,40}\]")


class ChatEncoder:
    """Encodes dialogs and answers for a model.

    Args:
        tokenizer: of transformers, with all its tokens added.
        render: writes a dialog as the model's chat template does.
    """

    def __init__(self, tokenizer: Any, render: Render) -> None:
        self._tokenizer = tokenizer
        self._render = render
        self._tokens = _structure_tokens(tokenizer, len(tokenizer))

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
        hidden = _Hidden("".join(message.content for message in dialog))
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
        return [_replaced(message, _escaped(markers, message.content)) for message in dialog]

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
                for match in _WRITTEN_MARKER.findall(piece)
                if match not in self._tokens.ids
            }
        return _any_of(found)


class _Hidden:
    """Texts that stand for others while a dialog is rendered."""

    def __init__(self, contents: str) -> None:
        number = 0
        while f"qz{number}x" in contents:
            number += 1
        self._prefix = f"qz{number}x"
        self._texts: list[str] = []

    def hide(self, text: str) -> str:
        """Return what stands for ``text``."""
        self._texts.append(text)
        return f"{self._prefix}{len(self._texts) - 1}z"

    def show(self, text: str) -> str:
        """Return ``text`` with everything hidden in its place."""
        pattern = rf"{self._prefix}(\d+)z"
        return re.sub(pattern, lambda match: self._texts[int(match[1])], text)


class _StructureTokens:
    """The added tokens of a tokenizer that give a dialog its structure.

    All special ones, toolkens, and others in brackets of any kind, such as ``<tool_call>``. Other
    added tokens (words, runs of white space) are text and stay tokens in contents too.

    Attributes:
        ids: their texts and ids.
    """

    def __init__(self, tokenizer: Any) -> None:
        added = tokenizer.added_tokens_decoder
        marks = {
            number: token
            for number, token in added.items()
            if token.special or _in_brackets(token.content)
        }
        self.ids = {token.content: number for number, token in marks.items()}
        special = {token.content for token in marks.values() if token.special}
        others = {text for text in self.ids if text not in special}
        toolkens = {text for text in others if is_toolken(text)}
        self._own = _any_of(special)
        self._others = _any_of(others)
        self._foreign = _any_of(
            [*special, *(others - toolkens), *([_TOOLKEN_START] if toolkens else [])]
        )
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        self._normalizer = getattr(self._backend, "normalizer", None)
        normalized = [token.content for token in marks.values() if token.normalized]
        self._normalized = (
            _any_of([self._normalizer.normalize_str(text) for text in normalized])
            if self._normalizer is not None
            else None
        )

    def stand_in(self, message: Message) -> bool:
        """Whether the content holds what would become a token of the structure."""
        pattern = self._pattern(message)
        return bool(pattern and pattern.search(message.content)) or self._stand_normalized(message)

    def hide(self, message: Message, hidden: _Hidden) -> Message:
        """Return the message with all such text hidden."""
        pattern = self._all_but_own(message) if self._stand_normalized(message) else None
        pattern = pattern or self._pattern(message)
        if pattern is None:
            return message
        content = pattern.sub(lambda match: hidden.hide(match[0]), message.content)
        return _replaced(message, content)

    def escape(self, message: Message) -> Message:
        """Return the message with a backslash in all such text."""
        pattern = self._pattern(message)
        content = _escaped(pattern, message.content) if pattern else message.content
        escaped = _replaced(message, content)
        if self._normalized and self._normalizer and self._stand_normalized(escaped):
            content = _escaped(self._normalized, self._normalizer.normalize_str(content))
            return _replaced(message, content)
        return escaped

    def encode(self, text: str, hidden: _Hidden, expected: Sequence[int]) -> list[int] | None:
        """Encode a rendered dialog; None: it cannot be done for this tokenizer or dialog.

        Args:
            text: as rendered, with hidden contents.
            hidden: these contents.
            expected: what the tokenizer itself makes of ``text``, to check that the copy agrees.
        """
        copy = self._copy
        if copy is None or _RENAMED in hidden.show(text):
            return None
        renamed = copy.rename(text)
        if copy.encode(renamed) != list(expected):
            return None
        return copy.encode(hidden.show(renamed))

    def _pattern(self, message: Message) -> re.Pattern[str] | None:
        return self._own if message.role == "assistant" else self._foreign

    def _all_but_own(self, message: Message) -> re.Pattern[str]:
        """Return a pattern of all words but the model's own tokens, as far as JSON writes them."""
        own = self._others.pattern if self._others and message.role == "assistant" else "(?!)"
        return re.compile(rf"""(?:(?!{own})[^\s"\\\x00-\x1f])+""")

    def _stand_normalized(self, message: Message) -> bool:
        """Whether such text comes out of the tokenizer's normalisation only."""
        if self._normalized is None:
            return False
        pattern = self._pattern(message)
        rest = pattern.sub(" ", message.content) if pattern else message.content
        normalized = self._normalizer.normalize_str(rest) if self._normalizer else rest
        return bool(self._normalized.search(normalized))

    @cached_property
    def _copy(self) -> _RenamedTokenizer | None:
        return _RenamedTokenizer(self._backend, self.ids) if self._backend is not None else None


class _RenamedTokenizer:
    """A copy of a tokenizer in which some added tokens have other texts, and the same ids."""

    def __init__(self, backend: Any, ids: dict[str, int]) -> None:
        self._names = {text: f"{_RENAMED}{number}>" for text, number in ids.items()}
        pattern = _any_of(self._names)
        assert pattern is not None, "without any such token no content holds one"
        self._pattern = pattern
        state = json.loads(backend.to_str())
        for token in state["added_tokens"]:
            token["content"] = self._names.get(token["content"], token["content"])
        self._rename_in_model(state["model"])
        state |= {"post_processor": None, "truncation": None, "padding": None}
        self._backend = type(backend).from_str(json.dumps(state))
        self._ids = {
            self._backend.token_to_id(name): ids[text] for text, name in self._names.items()
        }

    def rename(self, text: str) -> str:
        """Return ``text`` with each such token as the copy knows it."""
        return self._pattern.sub(lambda match: self._names[match[0]], text)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        found = self._backend.encode(text, add_special_tokens=False).ids
        return [self._ids.get(number, number) for number in found]

    def _rename_in_model(self, model: dict[str, Any]) -> None:
        names = self._names
        vocabulary = model["vocab"]
        model["vocab"] = (
            {names.get(text, text): number for text, number in vocabulary.items()}
            if isinstance(vocabulary, dict)
            else [[names.get(text, text), score] for text, score in vocabulary]
        )
        if model.get("unk_token") in names:
            model["unk_token"] = names[model["unk_token"]]
        if model.get("merges"):
            model["merges"] = [pair for pair in model["merges"] if not _makes(pair, names)]


def _makes(pair: Any, names: dict[str, str]) -> bool:
    left, right = pair.split(" ", 1) if isinstance(pair, str) else pair
    return left in names or right in names or left + right in names


@lru_cache(maxsize=8)
def _structure_tokens(tokenizer: Any, num_tokens: int) -> _StructureTokens:
    """Return the structure of a tokenizer, found out anew when it has got more tokens."""
    return _StructureTokens(tokenizer)


def _in_brackets(text: str) -> bool:
    if len(text) < 3 or not any(char.isalnum() for char in text):
        return False
    return not any(char.isalnum() or char.isspace() or char == "▁" for char in text[0] + text[-1])


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern of any of the texts, the longest first."""
    longest_first = sorted({text for text in texts if text}, key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _escaped(pattern: re.Pattern[str], text: str) -> str:
    for _ in range(_MAX_ESCAPES):
        text = pattern.sub(lambda match: f"{match[0][0]}\\{match[0][1:]}", text)
    return text


def _replaced(message: Message, content: str) -> Message:
    return message.model_copy(update={"content": content})

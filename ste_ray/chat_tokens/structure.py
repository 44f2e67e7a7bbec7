"""The tokens that give a dialog its structure, and how text that looks like them is kept apart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any

from ste_ray.core.records import Message
from ste_ray.core.toolkens import is_toolken

_TOOLKEN_START = "<tool_"
_RENAMED = "<zq-"
_MAX_ESCAPES = 3  # an escape within a marker can show another one


class Hidden:
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


class StructureTokens:
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
        self._own = any_of(special)
        self._others = any_of(others)
        self._foreign = any_of(
            [*special, *(others - toolkens), *([_TOOLKEN_START] if toolkens else [])]
        )
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        self._normalizer = getattr(self._backend, "normalizer", None)
        normalized = [token.content for token in marks.values() if token.normalized]
        self._normalized = (
            any_of([self._normalizer.normalize_str(text) for text in normalized])
            if self._normalizer is not None
            else None
        )

    def stand_in(self, message: Message) -> bool:
        """Whether the content holds what would become a token of the structure."""
        pattern = self._pattern(message)
        return bool(pattern and pattern.search(message.content)) or self._stand_normalized(message)

    def hide(self, message: Message, hidden: Hidden) -> Message:
        """Return the message with all such text hidden."""
        pattern = self._all_but_own(message) if self._stand_normalized(message) else None
        pattern = pattern or self._pattern(message)
        if pattern is None:
            return message
        content = pattern.sub(lambda match: hidden.hide(match[0]), message.content)
        return replaced(message, content)

    def escape(self, message: Message) -> Message:
        """Return the message with a backslash in all such text."""
        pattern = self._pattern(message)
        content = escaped(pattern, message.content) if pattern else message.content
        result = replaced(message, content)
        if self._normalized and self._normalizer and self._stand_normalized(result):
            content = escaped(self._normalized, self._normalizer.normalize_str(content))
            return replaced(message, content)
        return result

    def encode(self, text: str, hidden: Hidden, expected: Sequence[int]) -> list[int] | None:
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
        pattern = any_of(self._names)
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
def structure_tokens(tokenizer: Any, num_tokens: int) -> StructureTokens:
    """Return the structure of a tokenizer, found out anew when it has got more tokens."""
    return StructureTokens(tokenizer)


def _in_brackets(text: str) -> bool:
    if len(text) < 3 or not any(char.isalnum() for char in text):
        return False
    return not any(char.isalnum() or char.isspace() or char == "▁" for char in text[0] + text[-1])


def any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern of any of the texts, the longest first."""
    longest_first = sorted({text for text in texts if text}, key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def escaped(pattern: re.Pattern[str], text: str) -> str:
    """Return ``text`` with a visible backslash in all that ``pattern`` finds."""
    for _ in range(_MAX_ESCAPES):
        text = pattern.sub(lambda match: f"{match[0][0]}\\{match[0][1:]}", text)
    return text


def replaced(message: Message, content: str) -> Message:
    """Return the message with another content."""
    return message.model_copy(update={"content": content})

"""The message of a chat completion as a text and its reasoning, whatever its shape.

Endpoints put reasoning into a field of its own (``reasoning_content``, ``reasoning``, …), into a
list of parts beside the text, or leave it in the text (see ``ste_ray.core.replies.reasoning``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ste_ray.core.replies.reasoning import Separated, estimated_tokens, separate
from ste_ray.core.texts.surrogates import without_halves

# Several may be there with the same text: the first that says anything counts.
_FIELDS = ("reasoning_content", "reasoning", "thinking", "thinking_blocks", "reasoning_details")
# Others are told by their names; a signature or a count of tokens is no reasoning.
_FIELD_NAMES = re.compile(
    r"(?:model_)?(?:reason(?:ing)?|think(?:ing)?|thoughts?|reflection|chain_of_thought|cot)"
    r"(?:_(?:content|texts?|blocks?|details|summary|process|steps?|trace|output))?"
)
# Where gateways put the fields that they do not know.
_OTHER_FIELDS = ("provider_specific_fields", "additional_kwargs", "model_extra")
_TEXT_TYPES = ("", "text", "output_text", "refusal")
_LIST_KEYS = ("content", "parts")
_TEXT_KEYS = (
    *("text", "content", "value", "thinking", "reasoning", "reasoning_content", "think"),
    *("thought", "summary", "refusal", "parts"),
)
_CONTENT_KEYS = ("content", "text", "refusal")
_SIGNS = ("think", "reason", "thought", "redacted")
_MAX_DEPTH = 8


def read_message(message: Mapping[str, Any]) -> Separated:
    """Return what a message says, and the reasoning before it.

    Raises:
        TypeError: its content is neither text nor a part, nor a list of them.
    """
    thoughts: list[str] = []
    given = (message.get(name) for name in _CONTENT_KEYS)
    content = _content_of(next((one for one in given if one is not None), None), thoughts)
    found = separate(content)
    field = _field_of(message)
    # Some endpoints tell the same twice: in a field, and in the text or its parts.
    own = "\n\n".join(filter(None, [*thoughts, found.reasoning]))
    reasoning = field if not own or own in field else f"{field}\n\n{own}" if field else own
    if field and field in own:
        reasoning = own
    unclosed = found.unclosed or (not found.content.strip() and bool(reasoning))
    # A token limit can cut a pair in two.
    return Separated(without_halves(found.content), without_halves(reasoning.strip()), unclosed)


def text_of(value: Any, depth: int = 0) -> str:
    """Return the text in a value of unknown shape: a text, a list of parts, or a part."""
    if isinstance(value, str):
        return value
    if depth > _MAX_DEPTH:
        return ""
    if isinstance(value, list):
        return "".join(text_of(part, depth + 1) for part in value)
    if isinstance(value, Mapping):
        texts = (text_of(value.get(key), depth + 1) for key in _TEXT_KEYS)
        return next(filter(None, texts), "")
    return ""


@dataclass(frozen=True, slots=True)
class TokenUse:
    """Tokens of a completion as the endpoint counts them; reasoning's are among the completion's.

    ``reasoning`` is estimated by its share of the characters where the endpoint does not tell it.
    """

    prompt: int
    cached: int
    completion: int
    reasoning: int


def read_usage(usage: Mapping[str, Any], message: Separated, called: str = "") -> TokenUse:
    """Return the tokens of a completion.

    Some providers leave the reasoning out of ``completion_tokens`` and have it in the total alone;
    it is paid for, so it is counted. ``called`` is what was written for calls.
    """
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    cached = _count(usage.get("prompt_tokens_details") or {}, "cached_tokens")
    told = _count(usage.get("completion_tokens_details") or {}, "reasoning_tokens")
    hidden = _count(usage, "total_tokens") - prompt - completion
    if hidden > 0 and (told == hidden or (not told and hidden != cached)):
        return TokenUse(prompt, cached, completion + hidden, hidden)
    if told > 0:
        return TokenUse(prompt, cached, max(completion, told), told)
    estimated = estimated_tokens(completion, message.reasoning, message.content + called)
    return TokenUse(prompt, cached, completion, estimated)


def _count(counts: Mapping[str, Any], name: str) -> int:
    return max(0, int(counts.get(name) or 0))


def _field_of(message: Mapping[str, Any]) -> str:
    """Return the reasoning in a field beside the content; empty: none."""
    names = (*_FIELDS, *(name for name in message if _FIELD_NAMES.fullmatch(name.lower())))
    found = next((text for name in names if (text := text_of(message.get(name)))), "")
    others = (message.get(name) for name in _OTHER_FIELDS)
    inner = (_field_of(other) for other in others if not found and isinstance(other, Mapping))
    return found or next(filter(None, inner), "")


def _content_of(content: Any, thoughts: list[str], depth: int = 0) -> str:
    """Return the text of a content; what its parts hold of reasoning goes to ``thoughts``."""
    if content is None or depth > _MAX_DEPTH:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        raise TypeError(f"a content of type {type(content).__name__}")
    return "".join(_part_of(part, thoughts, depth + 1) for part in content)


def _part_of(part: Any, thoughts: list[str], depth: int) -> str:
    """Return the text of one part of a content; reasoning goes to ``thoughts``."""
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return _content_of(part, thoughts, depth)
    if not isinstance(part, Mapping):
        return ""
    kind = str(part.get("type") or "").lower()
    if _is_reasoning(kind) or part.get("thought") is True:
        thoughts.append(text_of(part).strip())
        return ""
    inner = next((one for key in _LIST_KEYS if isinstance(one := part.get(key), list)), None)
    if inner is not None and kind in ("message", *_TEXT_TYPES):
        return _content_of(inner, thoughts, depth)
    return text_of(part) if kind in _TEXT_TYPES else ""


def _is_reasoning(kind: str) -> bool:
    return any(sign in kind for sign in _SIGNS)

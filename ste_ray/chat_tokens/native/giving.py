"""Tokenizers given a chat template that knows tools, where their own does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.chat_tokens.native.own_template import template_with_tools
from ste_ray.chat_tokens.native.template_tools import named_template
from ste_ray.errors import NoToolsError


def chat_with_tools(tokenizer: Any, name_of: Callable[[str], str] = str) -> tuple[NativeChat, bool]:
    """Return what writes dialogs with tools, and whether the tokenizer's template was replaced.

    A template that knows no tools is replaced, in place, by one that keeps its turns, and one that
    does not show those that it is given by one that does.

    Args:
        tokenizer: of transformers, with all its tokens added.
        name_of: how a tool is called in dialogs; given its true name.

    Raises:
        ToolTemplateError: how the template writes calls, or turns, cannot be told.
    """
    replaced = False
    try:
        chat = NativeChat(tokenizer, name_of=name_of)
    except NoToolsError:
        tokenizer.chat_template = template_with_tools(tokenizer)
        chat, replaced = NativeChat(tokenizer, name_of=name_of), True
    if chat.facts.template != named_template(tokenizer):
        tokenizer.chat_template, replaced = chat.facts.template, True
    return chat, replaced


def give_tools(tokenizer: Any) -> bool:
    """Let a tokenizer's chat template write tools and calls, in place, and servers read them.

    ``response_template``, by which transformers reads replies, is set where there is none and one
    can be made.

    Returns:
        Whether the template was replaced; see ``chat_with_tools``.

    Raises:
        ToolTemplateError: how the template writes calls, or turns, cannot be told.
    """
    chat, replaced = chat_with_tools(tokenizer)
    if getattr(tokenizer, "response_template", None) is None:
        tokenizer.response_template = chat.response_template()
    return replaced

"""Conversations of clients as token ids, in which nothing that a client sends is structure.

A folder with a form of calls of its template's gets its prompts as training wrote them, contents
kept as they are. Elsewhere what looks like a token gets a visible backslash.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.chat_tokens.native.messages import Conversation, rewritten_json
from ste_ray.chat_tokens.structure import structure_tokens
from ste_ray.core.records import Message, MessageCall
from ste_ray.core.replies.chat_form import chat_messages
from ste_ray.errors import ToolTemplateError
from ste_ray.serving.requests import ChatMessage, ChatRequest, RequestError

_REFUSALS = (
    TemplateError,
    ToolTemplateError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class PromptWriter:
    """Writes prompts for one model.

    Args:
        tokenizer: its tokenizer, with all its tokens.
        chat: its form of calls, where that is its template's; None: toolkens, or none.
        writes_calls: whether its template itself rewrites a conversation that has tools, as those
            of folders with toolkens do. It takes contents as they are.
    """

    def __init__(self, tokenizer: Any, chat: NativeChat | None, *, writes_calls: bool) -> None:
        self._tokenizer = tokenizer
        self._chat = chat
        self._writes_calls = writes_calls
        self._tokens = structure_tokens(tokenizer, len(tokenizer))
        self._reserved = {
            name
            for function in (tokenizer.apply_chat_template, render_jinja_template)
            for name, one in inspect.signature(function).parameters.items()
            if one.kind is not inspect.Parameter.VAR_KEYWORD
        }
        self._reserved |= {"messages", *tokenizer.special_tokens_map}

    def __call__(self, request: ChatRequest) -> list[int]:
        """Return the token ids of a conversation, up to where the reply begins.

        Raises:
            RequestError: the chat template refuses it.
        """
        options = request.chat_template_kwargs or {}
        if taken := sorted(self._reserved & options.keys()):
            raise RequestError(
                f"chat_template_kwargs: {taken[0]!r} is set by the server; leave it out",
                "chat_template_kwargs",
            )
        try:
            dialog = [_message(one) for one in request.messages]
            options = {name: self._escaped_json(one) for name, one in options.items()}
            if self._chat is not None:
                chat = self._chat.with_options(options) if options else self._chat
                return chat.prompt(dialog, request.offered)
            return self._plain(dialog, request, options)
        except _REFUSALS as error:
            told = " ".join(str(error).split())
            roles = ", ".join(one.role for one in request.messages)
            raise RequestError(
                f"messages: the model's chat template refuses a conversation of {roles} with"
                f" {len(request.offered)} tools: {told}",
                "messages",
            ) from None

    def _plain(
        self, dialog: Sequence[Message], request: ChatRequest, options: Mapping[str, Any]
    ) -> list[int]:
        tools = request.offered
        messages = chat_messages(dialog, arguments="object")
        for message, given in zip(messages, request.messages, strict=True):
            if given.name:
                message["name"] = given.name
        spoken = Conversation(tuple(messages), tuple(tools))
        calls = any(one.role == "tool" or one.tool_calls for one in dialog)
        if not (self._writes_calls and (tools or calls)):
            spoken = spoken.rewritten(self._escaped)
        found = self._tokenizer.apply_chat_template(
            list(spoken.messages),
            tools=list(spoken.tools) or None,
            add_generation_prompt=True,
            return_dict=True,
            tokenize=True,
            **options,
        )
        return list(found["input_ids"])

    def _escaped(self, text: str, own: bool) -> str:
        role = "assistant" if own else "user"
        return self._tokens.escape(Message.model_construct(role=role, content=text)).content

    def _escaped_json(self, value: Any) -> Any:
        return rewritten_json(value, lambda text: self._escaped(text, False))


def _message(message: ChatMessage) -> Message:
    calls = tuple(
        MessageCall(id=one.id, name=one.function.name, arguments_text=one.function.arguments)
        for one in message.tool_calls or ()
    )
    return Message(
        role="system" if message.role == "developer" else message.role,
        content=message.text,
        tool_calls=calls,
        tool_call_id=message.tool_call_id or "",
        reasoning=message.reasoning_content or "",
    )

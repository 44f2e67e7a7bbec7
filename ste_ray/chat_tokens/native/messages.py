"""Conversations with tools as a chat template takes them, and what of them is content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ste_ray.chat_tokens.native.template_tools import TemplateTools
from ste_ray.chat_tokens.rendering import without_system
from ste_ray.core.native_calls.form import WrittenCall
from ste_ray.core.native_calls.writing import write_calls
from ste_ray.core.records import Message
from ste_ray.core.replies.chat_form import chat_messages
from ste_ray.errors import ToolTemplateError

_ID_LENGTH = 9
#: Rewrites a text; the second argument says whether the model wrote it.
Rewrite = Callable[[str, bool], str]


@dataclass(frozen=True)
class Conversation:
    """Messages and tools, as a chat template takes them."""

    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]

    def up_to(self, number: int) -> Conversation:
        """Return the conversation of the first messages."""
        return Conversation(self.messages[:number], self.tools)

    def texts(self) -> list[tuple[str, bool]]:
        """Return all texts that are content, with whether the model wrote them."""
        found: list[tuple[str, bool]] = []

        def note(text: str, own: bool) -> str:
            found.append((text, own))
            return text

        self.rewritten(note)
        return found

    def rewritten(self, rewrite: Rewrite) -> Conversation:
        """Return the conversation with all contents rewritten: texts, arguments, descriptions."""
        messages = tuple(_message(one, rewrite) for one in self.messages)
        tools = tuple(
            {**one, "function": rewritten_json(one["function"], lambda text: rewrite(text, False))}
            for one in self.tools
        )
        return Conversation(messages, tools)


def conversation(
    dialog: Sequence[Message],
    offered: Sequence[Mapping[str, Any]],
    facts: TemplateTools,
    name_of: Callable[[str], str] = str,
) -> Conversation:
    """Return a dialog as a template takes it.

    Args:
        dialog: from its beginning.
        offered: the tools, as ``chat_tool`` returns them.
        facts: what the template does with tools.
        name_of: how a tool is called here; given its true name.

    Raises:
        ToolTemplateError: it holds a result of a tool, and the template writes none.
    """
    if not facts.system:
        dialog = without_system(dialog)
    if any(message.role == "tool" for message in dialog) and not facts.results:
        raise ToolTemplateError(
            "the chat template does not write what a tool returned; give the tokenizer one that"
            " does, or prompts without results"
        )
    if not facts.form.parallel:
        dialog = _one_call_each(dialog)
    made = chat_messages(dialog, arguments=facts.arguments, name_of=name_of)
    names = {one.id: name_of(one.name) for message in dialog for one in message.tool_calls}
    for message, fields in zip(dialog, made, strict=True):
        if message.role == "tool":
            fields["name"] = names.get(message.tool_call_id, "")
            fields["tool_call_id"] = _id(message.tool_call_id, facts)
        for one in fields.get("tool_calls", ()):
            one["id"] = _id(one["id"], facts)
        if message.tool_calls and facts.source == "described":
            fields["content"] = _with_calls(message, facts, name_of)
            del fields["tool_calls"]
        elif message.tool_calls and facts.null_content:
            # With a text beside them, such a template writes calls only if it keeps both.
            fields["content"] = (facts.form.keeps_text and message.content) or None
    return Conversation(tuple(made), tuple(offered))


def _one_call_each(dialog: Sequence[Message]) -> list[Message]:
    """Return the dialog with each of several calls in a message of its own, before its result."""
    found: list[Message] = []
    results = {one.tool_call_id: one for one in dialog if one.role == "tool"}
    moved: set[str] = set()
    for message in dialog:
        if len(message.tool_calls) < 2:
            if message.role != "tool" or message.tool_call_id not in moved:
                found.append(message)
            continue
        for number, call in enumerate(message.tool_calls):
            update = {"tool_calls": (call,), "content": "" if number else message.content}
            found.append(message.model_copy(update=update))
            if call.id in results:
                found.append(results[call.id])
                moved.add(call.id)
    return found


def _with_calls(message: Message, facts: TemplateTools, name_of: Callable[[str], str]) -> str:
    calls = [
        WrittenCall(name=name_of(one.name), arguments_text=one.arguments_text, id=one.id)
        for one in message.tool_calls
    ]
    return "\n".join(filter(None, [message.content, write_calls(calls, facts.form)]))


def _id(identity: str, facts: TemplateTools) -> str:
    """Return an id that the template takes; the same one for the same."""
    fits = len(identity) == _ID_LENGTH and identity.isascii() and identity.isalnum()
    if facts.ids == "any" or fits:
        return identity
    return hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()[:_ID_LENGTH]


def _message(message: Mapping[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    own = message["role"] == "assistant"
    found = dict(message)
    for field in ("content", "reasoning_content", "name", "tool_call_id"):
        if isinstance(found.get(field), str):
            found[field] = rewrite(found[field], own)
    if "tool_calls" in found:
        found["tool_calls"] = [
            {
                **one,
                "id": rewrite(one["id"], own),
                "function": rewritten_json(one["function"], lambda text: rewrite(text, own)),
            }
            for one in found["tool_calls"]
        ]
    return found


def rewritten_json(value: Any, rewrite: Callable[[str], str]) -> Any:
    """Return a JSON value with its texts rewritten, keys too; names of fields and types stay."""
    if isinstance(value, str):
        return rewrite(value)
    if isinstance(value, Mapping):
        return {
            key if key in _FIELDS else rewrite(key): one
            if key == "type" and one in _TYPES  # which templates look at
            else rewritten_json(one, rewrite)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [rewritten_json(one, rewrite) for one in value]
    return value


_FIELDS = frozenset({"name", "description", "parameters", "arguments", "type", "properties"})
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")

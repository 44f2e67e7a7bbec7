"""Messages of a conversation, with the calls in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from ste_ray.core.records.base import Record
from ste_ray.core.records.fingerprints import canonical_json


class MessageCall(Record):
    """A call of a tool in an assistant's message, as native tool calling has it.

    ``name`` is the tool's true name where there is such a tool, else as the model wrote it.
    ``arguments_text`` is what was written, whether it is JSON or not. Each ``id`` is there, and
    once in a conversation.
    """

    id: str
    name: str
    arguments_text: str


class Message(Record):
    """One message of a conversation.

    A message of the role ``tool`` is the result of the call ``tool_call_id``. ``reasoning`` is
    there only where the model is to get its reasoning back.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[MessageCall, ...] = ()
    tool_call_id: str = ""
    reasoning: str = ""

    @classmethod
    def of_row(cls, fields: Mapping[str, Any]) -> Message:
        """Return the message of a table's row, whose fields are not checked again."""
        calls = tuple(MessageCall.model_construct(**one) for one in fields.get("tool_calls") or ())
        return cls.model_construct(**{**fields, "tool_calls": calls})

    @cached_property
    def digest(self) -> str:
        """Identity of a message; kept, since a conversation is hashed at each request."""
        text = f"{self.role}\n{self.content}"
        if self.tool_calls or self.tool_call_id or self.reasoning:
            calls = [[one.id, one.name, one.arguments_text] for one in self.tool_calls]
            text += "\0" + canonical_json([calls, self.tool_call_id, self.reasoning])
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

"""The conversation of an episode, its short-term memory: what is said, and what it took."""

from __future__ import annotations

from dataclasses import dataclass, field

from ste_ray.core.effects import AskModel, Flow, ModelReply, OfferedTool, Sampling, ToolChoice
from ste_ray.core.records import Fault, Message, MessageCall, Oddity
from ste_ray.core.replies.conversation import assistant_message, result_message
from ste_ray.core.replies.native import with_own_ids
from ste_ray.core.replies.stop_texts import cut_at_stop


@dataclass
class Conversation:
    """The messages of an episode; those from ``start`` on are what the model sees.

    What is asked is charged to ``account``. Without short-term memory every trial starts afresh,
    while the record keeps all messages. ``cut_off`` says why the conversation cannot go on, once
    the endpoint has ended it. With ``keep_reasoning`` the model gets its reasoning back.
    """

    account: str = ""
    keep_reasoning: bool = False
    messages: list[Message] = field(default_factory=list)
    start: int = 0
    models: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    replies: int = 0
    replies_reasoned: int = 0
    reasoning_tokens: int = 0
    faults: list[Fault] = field(default_factory=list)
    oddities: list[Oddity] = field(default_factory=list)
    cut_off: str = ""

    def say(self, content: str) -> None:
        """Append a user message."""
        self.messages.append(Message(role="user", content=content))

    def answer(self, call_id: str, content: str) -> None:
        """Append the result of a native call."""
        self.messages.append(result_message(call_id, content))

    @property
    def shows_calls(self) -> bool:
        """Whether the model sees native calls in it."""
        return any(message.tool_calls for message in self.messages[self.start :])

    def ask(
        self,
        sampling: Sampling,
        shown: str | None = None,
        tools: tuple[OfferedTool, ...] = (),
        tool_choice: ToolChoice = "auto",
    ) -> Flow[ModelReply]:
        """Ask for the next reply and keep it, cut at the first stop sequence.

        ``shown`` replaces the last message in this one request; it is not kept. Some endpoints
        ignore stop sequences: what they invented behind one must not enter the conversation, and
        nor must calls that were not asked for. Other calls get ids where they lack them.
        """
        visible = self.messages[self.start :]
        if shown is not None:
            visible = [*visible[:-1], Message(role="user", content=shown)]
        reply = yield AskModel(
            role="explorer",
            messages=tuple(visible),
            sampling=sampling,
            account=self.account,
            tools=tools,
            tool_choice=tool_choice,
        )
        assert isinstance(reply, ModelReply)
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        self.replies += 1
        self.replies_reasoned += reply.reasoned
        self.reasoning_tokens += reply.reasoning_tokens
        if reply.model and reply.model not in self.models:
            self.models.append(reply.model)
        self._note_faults(reply)
        if reply.finish_reason in ("content_filter", "context_overflow", "refused", "failed"):
            self.cut_off = reply.finish_reason
        calls = reply.calls if tools and tool_choice != "none" and not self.cut_off else ()
        self._keep(reply, cut_at_stop(reply.text, sampling.stop), calls)
        return reply

    def _keep(self, reply: ModelReply, text: str, calls: tuple[MessageCall, ...]) -> None:
        place = len(self.messages)
        taken = {call.id for message in self.messages for call in message.tool_calls}
        calls, mended = with_own_ids(calls, taken)
        self.oddities += [
            one.model_copy(update={"reply_index": place}) for one in (*reply.oddities, *mended)
        ]
        reasoning = reply.reasoning if self.keep_reasoning else ""
        self.messages.append(assistant_message(text, calls, reasoning))

    def _note_faults(self, reply: ModelReply) -> None:
        place = len(self.messages)
        self.faults += [fault.model_copy(update={"reply_index": place}) for fault in reply.faults]
        if reply.finish_reason != "stop" and not any(
            fault.kind == reply.finish_reason for fault in reply.faults
        ):
            self.faults.append(Fault(kind=reply.finish_reason, reply_index=place))

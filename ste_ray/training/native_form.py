"""Training rows in the base model's own form of calls: with tools in the prompt, without toolkens.

Each row offers its tool among hard distractors. Prompts are those of inference, and what is learned
is the last message with what ends it; ``NativeChat`` proves both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.core.preparing.native_rows import CALL_ID, native_row
from ste_ray.core.preparing.offering import ToolChoice, asked_row
from ste_ray.core.prompts import PromptSet, offered_tool
from ste_ray.core.records import Message, MessageCall, TrainRow
from ste_ray.core.replies.chat_form import chat_tool
from ste_ray.core.replies.conversation import assistant_message, result_message
from ste_ray.core.texts.safe_names import SafeNames
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError, ToolTemplateError
from ste_ray.training.chat_format import ChatFormat


class UnwritableRowError(ValueError):
    """A row that cannot be written in the native form; the message says why."""


class NativeForm:
    """Writes training rows as token ids in the form of the tokenizer's chat template.

    Args:
        tokenizer: whose template knows tools; see ``give_tools``.
        specs: the tools that rows may offer, by name.
        choice: which of them each row offers.
        prompts: the system message is one of them.

    Raises:
        ToolTemplateError: the template cannot write calls so that they can be trained.
        ToolSpecError: two tools would go by the same safe name.
    """

    def __init__(
        self,
        tokenizer: Any,
        specs: Mapping[str, ToolSpec],
        choice: ToolChoice,
        prompts: PromptSet,
    ) -> None:
        names = SafeNames(specs)
        self._chat = NativeChat(tokenizer, name_of=names.safe)
        self._functions = {
            name: chat_tool(offered_tool(spec), names.safe(name)) for name, spec in specs.items()
        }
        self._choice = choice
        self._prompts = prompts
        self._eos: int = tokenizer.eos_token_id
        self._ends = {self._eos, ChatFormat(tokenizer).end_id, *self._chat.stop_ids()}

    @property
    def writes_results(self) -> bool:
        """Whether the template writes what a tool returned, so that answers can be trained."""
        return self._chat.facts.results

    def check(self) -> None:
        """Write a call as any row has one, and what follows it if that can be written.

        Raises:
            ToolTemplateError: it cannot be written.
        """
        name = next(iter(self._functions), "")
        if not name:
            raise ConfigError(
                "train.format='native' trains calls of tools, and there is none; prepare tools"
            )
        call = MessageCall(id=CALL_ID, name=name, arguments_text='{"text": "a \\"b\\""}')
        dialog = [
            self._prompts.system_message("act_system_native"),
            Message(role="user", content="a request"),
            assistant_message("", (call,)),
        ]
        self._chat.example(dialog, [self._functions[name]])
        if self.writes_results:
            dialog += [result_message(CALL_ID, "a result"), assistant_message("an answer")]
            self._chat.example(dialog, [self._functions[name]])

    def encoded(
        self, rows: Sequence[TrainRow]
    ) -> list[tuple[list[int], list[int]] | UnwritableRowError]:
        """Return the prompt's and the response's token ids of rows, or why there are none.

        Args:
            rows: of tools, or that need no call; general data are not written natively.
        """
        asked = [asked_row(row) for row in rows]
        chosen = self._choice.of([one for one in asked if one is not None])
        return [self._row(row, names) for row, names in zip(rows, chosen, strict=True)]

    def _row(
        self, row: TrainRow, names: Sequence[str]
    ) -> tuple[list[int], list[int]] | UnwritableRowError:
        offered = [self._functions[name] for name in names]
        try:
            found = self._chat.example(native_row(row, self._prompts), offered)
        except (ToolTemplateError, ValueError) as error:
            return UnwritableRowError(str(error))
        prompt_tokens = found.is_label.index(True)
        response = found.input_ids[prompt_tokens:]
        if response[-1] not in self._ends:  # the template ends a message with no token
            response = [*response, self._eos]
        return found.input_ids[:prompt_tokens], response

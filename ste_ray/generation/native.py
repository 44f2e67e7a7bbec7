"""Native calls of a local model: in the form of its own chat template, without a server.

Prompts offer tools as the template shows them, replies are read in the form in which it writes
calls, and what is odd about them is told in the words for endpoints. On the wire tools have safe
names, as for endpoints; in records their true ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.chat_tokens.native.giving import chat_with_tools
from ste_ray.chat_tokens.served_toolkens.chat_template import without_toolkens
from ste_ray.core.effects import AskModel, ModelReply, OfferedTool, Sampling, ToolChoice
from ste_ray.core.inferring.answering import calls_again, calls_of, final_answer_of, placed
from ste_ray.core.inferring.settings import PromptMaterial, Setting
from ste_ray.core.native_calls.form import NativeReply
from ste_ray.core.native_calls.grammar import stop_texts
from ste_ray.core.native_calls.reading import read_reply
from ste_ray.core.prompts import offered_tool
from ste_ray.core.records import Message, MessageCall, Oddity, Prediction
from ste_ray.core.replies.chat_form import chat_tool
from ste_ray.core.replies.native import settled
from ste_ray.core.replies.reasoning import estimated_tokens, separate
from ste_ray.core.replies.strict_json import clip
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError, ToolTemplateError
from ste_ray.generation.decode import Completion, no_answer
from ste_ray.generation.model import LocalModel
from ste_ray.generation.native_form import NativeForm
from ste_ray.generation.prompting import Prompt


def native_chat(tokenizer: Any, setting: Setting) -> NativeChat:
    """Return what writes prompts of a native setting.

    A chat template that knows no tools is replaced, in place, by the one that native training would
    give the model, so that a base model and what is trained of it read the same prompts.

    Raises:
        ToolTemplateError: how the model's chat template writes calls, or turns, cannot be told.
    """
    # Toolkens are another form than that of the base, which is asked for.
    tokenizer.chat_template = without_toolkens(tokenizer.chat_template)
    try:
        return chat_with_tools(tokenizer, safe_name)[0]
    except ToolTemplateError as error:
        raise type(error)(
            f"setting {setting.name!r}: {error}; or ask the model by text, such as"
            f" {setting.model}/retrieved"
        ) from None


def check_tool_choice(setting: Setting, tool_choice: str, constrained: bool) -> None:
    """Refuse to require calls of a local model that nothing binds to them.

    Raises:
        ConfigError: calls are required, and decoding is not constrained.
    """
    if setting.is_native and tool_choice == "required" and not constrained:
        raise ConfigError(
            f"infer.tool_choice='required' cannot bind the local model of setting {setting.name!r};"
            " set infer.constrained=true, which does, or infer.tool_choice=auto"
        )


class NativeCalling:
    """Writes prompts with tools, and reads replies to them.

    Args:
        model: the model.
        setting: a native one.
        material: what prompts are made of.

    Attributes:
        model: the same, with the tokens that end its replies.
        decoding: how replies are decoded.

    Raises:
        ToolTemplateError: its chat template cannot be used for native calls.
    """

    def __init__(self, model: LocalModel, setting: Setting, material: PromptMaterial) -> None:
        self._chat = native_chat(model.tokenizer, setting)
        self._form = self._chat.facts.form
        self._material = material
        ends = {*model.eos_token_ids, *self._chat.stop_ids()}
        self.model = replace(model, eos_token_ids=tuple(sorted(ends)))
        kept = self._chat.kept_tokens()
        self.marks = {text: int(model.tokenizer.convert_tokens_to_ids(text)) for text in kept}
        as_text = [
            text for text in stop_texts(self._form) if not text.startswith(tuple(kept) or ("\0",))
        ]
        self.decoding = NativeForm(self._form, frozenset(self.marks.values()), tuple(as_text))

    def token_ids(self, dialog: Sequence[Message], tools: Sequence[ToolSpec]) -> list[int]:
        """Return a dialog that offers tools as token ids, up to where the model's reply begins.

        Raises:
            ToolTemplateError: the template refuses it.
        """
        offered = [chat_tool(offered_tool(one), safe_name(one.name)) for one in tools]
        return self._chat.prompt(dialog, offered)

    def tools_of(self, prompt: Prompt) -> list[ToolSpec]:
        """Return the tools that a prompt offers."""
        return [self._material.specs[name] for name in prompt.tools]

    def schemas_of(self, prompt: Prompt) -> dict[str, Any]:
        """Return the schemas of a prompt's tools, by the names that the model writes."""
        return {safe_name(one.name): one.parameters for one in self.tools_of(prompt)}

    def read(
        self, prediction: Prediction, prompt: Prompt, completion: Completion, opened: bool
    ) -> Prediction:
        """Return a prediction with the calls of its reply.

        Args:
            prediction: of this completion.
            prompt: what the model was shown.
            completion: what it wrote.
            opened: whether the prompt ended in a tag that opens reasoning.
        """
        reply = self._read(prompt, completion, opened)
        found = self._settled(reply, prompt, completion, self._material.tool_choice)
        calls, oddities = calls_of(found, prompt.dialog)
        text = _text_of(reply, completion, opened)
        return prediction.model_copy(
            update={
                "native": True,
                "output_text": text,
                "calls": calls,
                "oddities": oddities,
                **_reasoning_of(reply, completion),
                "error": _error_of(reply, text, completion),
            }
        )

    def conclude(
        self, prediction: Prediction, prompt: Prompt, completion: Completion, opened: bool
    ) -> Prediction:
        """Return a prediction with the final answer, which calls nothing any more.

        Args:
            prediction: with what its call returned.
            prompt: of its call.
            completion: what the model wrote after that.
            opened: whether the prompt ended in a tag that opens reasoning.
        """
        reply = self._read(prompt, completion, opened)
        found = self._settled(reply, prompt, completion, "none")
        text = _text_of(reply, completion, opened)
        reasoning = _reasoning_of(reply, completion)
        return prediction.model_copy(
            update={
                "final_answer": final_answer_of(text),
                "final_error": completion.error
                or _error_of(reply, text, completion)
                or calls_again(text, found.oddities, prediction.known_tools),
                "final_cut": completion.cut,
                "final_reasoning": reasoning["reasoning"],
                "final_completion_tokens": completion.num_tokens,
                "reasoning_tokens": prediction.reasoning_tokens + reasoning["reasoning_tokens"],
                "oddities": (*prediction.oddities, *placed(found.oddities, 1)),
            }
        )

    def _read(self, prompt: Prompt, completion: Completion, opened: bool) -> NativeReply:
        schemas = self.schemas_of(prompt)
        reply = read_reply(completion.text, self._form, schemas, opened=opened)
        if reply.unclosed and opened and not completion.cut:
            # It came to its own end without a closing tag: the prompt alone spoke of reasoning.
            return read_reply(completion.text, self._form, schemas)
        return reply

    def _settled(
        self, reply: NativeReply, prompt: Prompt, completion: Completion, tool_choice: ToolChoice
    ) -> ModelReply:
        """Return the reply as one of an endpoint: with true names, and with what is odd."""
        calls = [
            MessageCall(id=one.id, name=one.name, arguments_text=one.arguments_text)
            for one in reply.calls
        ]
        offered: list[OfferedTool] = [offered_tool(one) for one in self.tools_of(prompt)]
        request = AskModel(
            role="assistant",
            messages=prompt.dialog,
            sampling=Sampling(),
            tools=tuple(offered),
            tool_choice=tool_choice,
        )
        found = ModelReply(
            text=_beside_calls(reply),
            finish_reason="length" if completion.cut else "stop",
            calls=tuple(calls),
            oddities=tuple(self._oddities(reply, completion)),
        )
        return settled(found, request)

    def _oddities(self, reply: NativeReply, completion: Completion) -> list[Oddity]:
        found = []
        if reply.problem:
            kind = "cut_call" if completion.cut else "unreadable_call"
            found.append(Oddity(kind=kind, detail=clip(reply.problem)))  # type: ignore[arg-type]
        if "id" in self._form.slots or self._form.id_path:
            found += [Oddity(kind="id_missing", detail=c.name) for c in reply.calls if not c.id]
        return found


def _beside_calls(reply: NativeReply) -> str:
    return "\n".join(filter(None, (reply.content, reply.after)))


def _text_of(reply: NativeReply, completion: Completion, opened: bool) -> str:
    """Return the text beside the calls; where one cannot be read, all that was written."""
    if not reply.problem:
        return _beside_calls(reply)
    found = separate(completion.text, opened)
    return found.content if reply.reasoning and found.content else completion.text


def _reasoning_of(reply: NativeReply, completion: Completion) -> Mapping[str, Any]:
    rest = completion.text[len(reply.reasoning) :]
    number = estimated_tokens(completion.num_tokens, reply.reasoning, rest)
    return {"reasoning": reply.reasoning, "reasoning_tokens": number}


def _error_of(reply: NativeReply, text: str, completion: Completion) -> str:
    """Say that a reply held nothing but reasoning; empty: it held more."""
    if reply.unclosed and not reply.calls and not text.strip():
        return no_answer(completion.num_tokens, cut=completion.cut)
    return ""

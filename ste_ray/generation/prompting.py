"""Dialogs as token ids that fit a model: what is too much is left out, and counted."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from ste_ray.chat_tokens.encoding import ChatEncoder
from ste_ray.chat_tokens.rendering import INST_TEMPLATE, render_prompt
from ste_ray.core.inferring.answering import dialog_of
from ste_ray.core.inferring.settings import PromptMaterial, Query, Setting, prompt_contents
from ste_ray.core.records import Message
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError

#: Makes token ids of a dialog and the tools that it offers, up to where the model's reply begins.
EncodeNative = Callable[[Sequence[Message], Sequence[ToolSpec]], list[int]]


class PromptTooLongError(ValueError):
    """The prompt exceeds the position limit even with everything left out that may be."""


@dataclass(frozen=True)
class Prompt:
    """A prompt as token ids, and what it shows.

    Attributes:
        token_ids: the prompt up to where the model's answer begins.
        dialog: its messages.
        tools: names of the candidate tools that are shown.
        tools_left_out: how many candidates did not fit.
        demonstrations_left_out: how many demonstrations did not fit.
    """

    token_ids: list[int]
    dialog: tuple[Message, ...] = ()
    tools: tuple[str, ...] = ()
    tools_left_out: int = 0
    demonstrations_left_out: int = 0


def encode_dialog(dialog: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the dialog in the model's chat format, up to where its answer begins.

    Contents are text, whatever they hold; see ``ste_ray.chat_tokens.encoding``.

    Raises:
        TemplateError: the chat template refuses the dialog.
    """
    encoder = _encoder(tokenizer, tokenizer.chat_template or INST_TEMPLATE)
    return encoder.dialogs([dialog])[0]


@lru_cache(maxsize=8)
def _encoder(tokenizer: PreTrainedTokenizerBase, template: str) -> ChatEncoder:
    return ChatEncoder(tokenizer, lambda dialog: render_prompt(tokenizer, dialog, template))


def fitted_prompt(
    query: Query,
    setting: Setting,
    material: PromptMaterial,
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int | None,
    encode_native: EncodeNative | None = None,
) -> Prompt:
    """Return the prompt of a query in a setting, with as much of its contents as fits.

    Candidate tools are left out from the end of their list, then demonstrations from the end of
    theirs; the first candidate always stays.

    Args:
        query: the test query.
        setting: says what the prompt shows.
        material: what it is made of.
        tokenizer: the model's tokenizer.
        max_tokens: the longest prompt, or None for no limit.
        encode_native: makes token ids of dialogs with tools, where the setting calls natively.

    Raises:
        PromptTooLongError: even the smallest prompt has more than ``max_tokens`` tokens.
        TemplateError: the chat template refuses the dialog.
        ToolTemplateError: it refuses the dialog with its tools.
    """
    contents = prompt_contents(setting, query, material)

    def make(left_out: int) -> tuple[tuple[Message, ...], list[int]]:
        shown = contents.without(left_out)
        dialog = dialog_of(query, setting, shown, material)
        if encode_native is not None:
            return dialog, encode_native(dialog, shown.tools)
        return dialog, encode_dialog(dialog, tokenizer)

    left_out = 0
    dialog, token_ids = make(0)
    if not _fits(token_ids, max_tokens) and contents.most_left_out:
        # Prompts only get shorter, so the first that fits is found by halving.
        choices = range(1, contents.most_left_out + 1)
        place = bisect_left(choices, True, key=lambda count: _fits(make(count)[1], max_tokens))
        left_out = min(place + 1, contents.most_left_out)
        dialog, token_ids = make(left_out)
    if not _fits(token_ids, max_tokens):
        raise PromptTooLongError(_too_long(token_ids, max_tokens))
    shown = contents.without(left_out)
    return Prompt(
        token_ids,
        dialog,
        tools=query.tools
        if setting.prompt == "dialog"
        else tuple(tool.name for tool in shown.tools),
        tools_left_out=len(contents.tools) - len(shown.tools),
        demonstrations_left_out=len(contents.demonstrations) - len(shown.demonstrations),
    )


def max_prompt_tokens(max_positions: int | None, max_new_tokens: int) -> int | None:
    """Return the longest prompt that leaves room for the answer; None for no limit.

    Raises:
        ConfigError: no prompt does.
    """
    if max_positions is None:
        return None
    if max_new_tokens >= max_positions:
        raise ConfigError(
            f"infer.max_new_tokens={max_new_tokens!r} leaves no room for a prompt in a model with"
            f" {max_positions} positions; lower it"
        )
    return max_positions - max_new_tokens


def _fits(token_ids: Sequence[int], max_tokens: int | None) -> bool:
    return max_tokens is None or len(token_ids) <= max_tokens


def _too_long(token_ids: Sequence[int], max_tokens: int | None) -> str:
    return (
        f"the prompt has {len(token_ids)} tokens with everything left out that may be, and"
        f" {max_tokens} are allowed; lower infer.max_new_tokens or use a model with more positions"
    )

"""Dialogs as token ids that fit a model: what is too much is left out, and counted."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from ste_ray.core.formatting import (
    INST_TEMPLATE,
    retrieved_dialog,
    toolken_dialog,
    without_system,
)
from ste_ray.core.prompts import PromptSet
from ste_ray.core.records import Example, Message, ToolSpec


class PromptTooLongError(ValueError):
    """The prompt exceeds the position limit even with everything left out that may be."""


@dataclass(frozen=True)
class Prompt:
    """A prompt as token ids, and what it shows.

    Attributes:
        token_ids: the prompt up to where the model's answer begins.
        tools: names of the candidate tools that are shown.
        tools_left_out: how many candidates did not fit.
        demonstrations_left_out: how many demonstrations did not fit.
    """

    token_ids: list[int]
    tools: tuple[str, ...] = ()
    tools_left_out: int = 0
    demonstrations_left_out: int = 0


def encode_dialog(dialog: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the dialog in the model's chat format, up to where its answer begins.

    Raises:
        TemplateError: the chat template refuses the dialog.
    """
    template = tokenizer.chat_template or INST_TEMPLATE
    try:
        text = _render(dialog, template, tokenizer)
    except TemplateError:
        text = _render(without_system(dialog), template, tokenizer)
    # The template writes the special tokens itself.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def toolken_prompt(
    query: str, prompts: PromptSet, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None
) -> Prompt:
    """Return the prompt of a model with toolkens, which holds the query alone.

    Raises:
        PromptTooLongError: it has more than ``max_tokens`` tokens.
    """
    token_ids = encode_dialog(toolken_dialog(query, prompts), tokenizer)
    if not _fits(token_ids, max_tokens):
        raise PromptTooLongError(_too_long(token_ids, max_tokens))
    return Prompt(token_ids)


def retrieved_prompt(
    query: str,
    tools: Sequence[ToolSpec],
    demonstrations: Sequence[Example],
    prompts: PromptSet,
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int | None,
) -> Prompt:
    """Return a prompt with as many demonstrations and candidate tools as fit.

    Demonstrations are left out first, from the end of their list, then candidates from the end of
    theirs; the first candidate always stays. The most similar demonstration stands last in the
    prompt, next to the query.

    Args:
        query: The test query.
        tools: Candidate tools, best first.
        demonstrations: Demonstrations, most similar first.
        prompts: The prompt templates.
        tokenizer: The model's tokenizer.
        max_tokens: The longest prompt, or None for no limit.

    Raises:
        PromptTooLongError: even the smallest prompt has more than ``max_tokens`` tokens.
    """

    def kept(left_out: int) -> tuple[Sequence[ToolSpec], Sequence[Example]]:
        num_demonstrations = max(len(demonstrations) - left_out, 0)
        num_tools = len(tools) - max(left_out - len(demonstrations), 0)
        return tools[:num_tools], demonstrations[:num_demonstrations]

    def encode(left_out: int) -> list[int]:
        some_tools, some_demonstrations = kept(left_out)
        dialog = retrieved_dialog(query, some_tools, some_demonstrations[::-1], prompts)
        return encode_dialog(dialog, tokenizer)

    most = len(demonstrations) + max(len(tools) - 1, 0)
    left_out = 0
    token_ids = encode(0)
    if not _fits(token_ids, max_tokens):
        # Prompts only get shorter, so the first that fits is found by halving.
        choices = range(1, most + 1)
        position = bisect_left(choices, True, key=lambda count: _fits(encode(count), max_tokens))
        left_out = min(position + 1, most)
        token_ids = encode(left_out)
    if not _fits(token_ids, max_tokens):
        raise PromptTooLongError(_too_long(token_ids, max_tokens))
    some_tools, some_demonstrations = kept(left_out)
    return Prompt(
        token_ids,
        tools=tuple(tool.name for tool in some_tools),
        tools_left_out=len(tools) - len(some_tools),
        demonstrations_left_out=len(demonstrations) - len(some_demonstrations),
    )


def _render(dialog: Sequence[Message], template: str, tokenizer: PreTrainedTokenizerBase) -> str:
    messages = [message.model_dump() for message in dialog]
    text = tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=False, add_generation_prompt=True
    )
    return str(text)


def _fits(token_ids: Sequence[int], max_tokens: int | None) -> bool:
    return max_tokens is None or len(token_ids) <= max_tokens


def _too_long(token_ids: Sequence[int], max_tokens: int | None) -> str:
    return (
        f"the prompt has {len(token_ids)} tokens with everything left out that may be, and"
        f" {max_tokens} are allowed; lower infer.max_new_tokens or use a model with more positions"
    )

"""Dialogs as a chat template writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from ste_ray.core.records import Message
from ste_ray.core.replies.chat_form import chat_messages

# The form of Llama 2, for models that come without a chat template: the system message stands in
# the first request.
INST_TEMPLATE = (
    "{{ bos_token }}{% set first = namespace(system='') %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}"
    "{% set first.system = '<<SYS>>\n' + message['content'] + '\n<</SYS>>\n\n' %}"
    "{% elif message['role'] == 'user' %}"
    "{{ '[INST] ' + first.system + message['content'] + ' [/INST]' }}{% set first.system = '' %}"
    "{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
)


def render(
    tokenizer: Any,
    dialog: Sequence[Message],
    template: str | None = None,
    *,
    add_generation_prompt: bool,
) -> str:
    """Return a dialog as a chat template writes it; None: the tokenizer's own.

    Raises:
        TemplateError: the template refuses the dialog.
    """
    text = tokenizer.apply_chat_template(
        chat_messages(dialog, arguments="object"),
        chat_template=template,
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
    )
    return str(text)


def render_prompt(tokenizer: Any, dialog: Sequence[Message], template: str | None = None) -> str:
    """Return a dialog up to where the answer begins.

    Where the template refuses a system message, it stands inside of the first request.

    Raises:
        TemplateError: the template refuses the dialog so too.
    """
    try:
        return render(tokenizer, dialog, template, add_generation_prompt=True)
    except TemplateError:
        dialog = without_system(dialog)
    return render(tokenizer, dialog, template, add_generation_prompt=True)


def without_system(dialog: Sequence[Message]) -> tuple[Message, ...]:
    """Return the dialog with its system message, if any, as the opening of the first request.

    For chat templates that refuse the system role, such as Gemma's.
    """
    if len(dialog) < 2 or dialog[0].role != "system":
        return tuple(dialog)
    system, first, *rest = dialog
    opened = Message(role=first.role, content=f"{system.content}\n\n{first.content}")
    return (opened, *rest)

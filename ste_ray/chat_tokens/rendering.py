"""Dialogs as a chat template writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from ste_ray.core.preparing.formatting import without_system
from ste_ray.core.records import Message


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
        [message.model_dump() for message in dialog],
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

"""A tokenizer's chat format: what a prompt looks like, and which token ends an answer."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from ste_ray.chat_tokens.rendering import render, render_prompt
from ste_ray.core.records import Message
from ste_ray.errors import ConfigError

_PROBE = "ste-ray probe"


class ChatFormat:
    """Writes dialogs as the tokenizer's chat template says.

    Attributes:
        end_id: the token that ends an answer: the one that the template puts after it, such as
            ``<|im_end|>``, or the end-of-sequence token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self.end_id = self._end_id()

    def prompt(self, dialog: Sequence[Message]) -> str:
        """Return the dialog up to where the answer begins, as a prompt at inference.

        Raises:
            ConfigError: the template refuses the dialog, with its system message inside of the
                first request too.
        """
        try:
            return render_prompt(self._tokenizer, dialog)
        except TemplateError as error:
            roles = ", ".join(message.role for message in dialog)
            raise ConfigError(
                f"the chat template of the base model refuses a dialog of the roles {roles}"
                f" ({error}); give its tokenizer a 'chat_template' that takes them"
            ) from None

    def _end_id(self) -> int:
        dialog = (
            Message(role="user", content=_PROBE),
            Message(role="assistant", content=_PROBE),
        )
        try:
            text = render(self._tokenizer, dialog, add_generation_prompt=False)
        except TemplateError:
            return int(self._tokenizer.eos_token_id)
        after = text.rpartition(_PROBE)[2].strip()
        ids = self._tokenizer(after, add_special_tokens=False)["input_ids"] if after else []
        if len(ids) == 1 and ids[0] in self._tokenizer.added_tokens_decoder:
            return int(ids[0])
        return int(self._tokenizer.eos_token_id)

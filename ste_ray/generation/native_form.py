"""How replies with native calls are decoded: which tokens stay in their text, and where they end.

A reply ends at a token wherever the form of the template has one for it. Texts are for templates
whose marks are no tokens of the model's tokenizer; there an argument may hold them, and ends
nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ste_ray.core.native_calls.form import CallForm
from ste_ray.core.native_calls.reading import read_reply


@dataclass(frozen=True)
class NativeForm:
    """What decoding needs to know of the form in which a template writes calls.

    Attributes:
        form: of the calls.
        kept: tokens that stay in what is decoded, special or not.
        stop_texts: what ends a reply and is no token.
    """

    form: CallForm
    kept: frozenset[int]
    stop_texts: tuple[str, ...] = ()

    def has_ended(self, text: str, opened: bool = False) -> bool:
        """Whether a reply holds a text that ends it: behind its calls, or behind its answer.

        Args:
            text: the reply so far, with the tokens that are kept.
            opened: whether the prompt ended in a tag that opens reasoning.
        """
        for stop in self.stop_texts:
            for found in re.finditer(re.escape(stop), text):
                before = read_reply(text[: found.start()], self.form, opened=opened)
                if not before.problem and not before.unclosed:
                    return True
        return False

"""Which tokens end a call soonest, where few are left and the grammar allows several."""

from __future__ import annotations

import torch

from ste_ray.generation.model import LocalModel

# Preferred near the limit, best first. A quotation mark comes first, because brackets within a text
# close nothing; where one opens a text, the next one closes it.
# A colon ends a bare key, of which a zero could be a part.
_CLOSING = ('"', "}", "]", ":", "0", "true", "null")


class ClosingTokens:
    """Which tokens lead to the end of a call soonest; worked out once for a model.

    Args:
        model: the model.
        value_ends: the characters that end values which are no JSON.
    """

    def __init__(self, model: LocalModel, value_ends: str = "") -> None:
        self._kinds = [torch.zeros(model.num_logits, dtype=torch.bool) for _ in (0, *_CLOSING)]
        self._kinds[0][list(model.eos_token_ids)] = True
        self._lengths = torch.zeros(model.num_logits, dtype=torch.long)
        self._value_ends = torch.zeros(model.num_logits, dtype=torch.bool)
        for token in range(min(len(model.tokenizer), model.num_logits)):
            text = model.tokenizer.decode([token])
            self._lengths[token] = len(text)
            if text in _CLOSING:
                self._kinds[1 + _CLOSING.index(text)][token] = True
            self._value_ends[token] = text.startswith(tuple(value_ends))

    def among(self, allowed: torch.Tensor, left: int = 0) -> torch.Tensor:
        """Return those of the allowed tokens that lead to the end soonest.

        Args:
            allowed: which tokens the grammar allows, of shape [vocabulary].
            left: how many tokens are left. What ends a text without quotes is part of one that has
                them, and the other way round, so that the two take turns.
        """
        if left % 2 and bool((chosen := allowed & self._value_ends).any()):
            return chosen
        for kind in self._kinds:
            if bool((chosen := allowed & kind).any()):
                return chosen
        # What is prescribed is written in as few tokens as can be.
        lengths = self._lengths.where(allowed, torch.tensor(-1))
        return lengths == lengths.max()

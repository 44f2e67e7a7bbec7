"""Frequency and presence penalties as OpenAI defines them, on the tokens of the reply."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Penalties:
    """Fulfils the ``LogitsProcessor`` protocol of transformers for a batch of one.

    Attributes:
        num_prompt: tokens of the prompt, which count for nothing.
        frequency: is taken from a token's score for each time that the reply has it.
        presence: is taken from it once if the reply has it.
    """

    num_prompt: int
    frequency: float
    presence: float

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores of shape [1, vocabulary]."""
        counts = torch.bincount(input_ids[0, self.num_prompt :], minlength=scores.shape[1])
        return scores - self.frequency * counts - self.presence * (counts > 0)

"""Sampling whose draws depend on the seed and the row alone, not on the batch a row stands in.

The largest of the logits plus Gumbel noise is a draw from their softmax (Gumbel, 1954), so the
decoder stays the greedy one. Top-p keeps the likeliest tokens that together reach that probability
(Holtzman et al., 2020).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch


class GumbelSampling:
    """Fulfils the ``LogitsProcessor`` protocol of transformers: greedy on its result is sampling.

    Args:
        temperature: above 0.
        top_p: up to 1.
        seeds: identity of each row.
    """

    def __init__(self, temperature: float, top_p: float, seeds: Sequence[str]) -> None:
        self._temperature = temperature
        self._top_p = top_p
        self._generators = []
        for seed in seeds:
            digest = hashlib.sha256(seed.encode()).digest()
            self._generators.append(torch.Generator().manual_seed(int.from_bytes(digest[:7])))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores of shape [rows, vocabulary] with noise."""
        logits = scores.float() / self._temperature
        if self._top_p < 1:
            logits = _nucleus(logits, self._top_p)
        noise = torch.stack(
            [torch.rand(logits.shape[1], generator=one) for one in self._generators]
        ).to(logits.device)
        tiny = torch.finfo(noise.dtype).tiny
        return logits - torch.log(-torch.log(noise.clamp_min(tiny)))

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, which become the first ones."""
        self._generators = [self._generators[row] for row in rows]


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    ordered, places = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    # A token stays while those before it have not reached the share; the first always does.
    dropped = probabilities.cumsum(dim=-1) - probabilities >= top_p
    return logits.masked_fill(dropped.scatter(-1, places, dropped), -torch.inf)

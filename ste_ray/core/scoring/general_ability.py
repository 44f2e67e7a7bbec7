"""What a training does to general ability: the loss on general examples that no training saw."""

from __future__ import annotations

import math

from ste_ray.core.records import Record

_MAX_EXPONENT = 700.0  # of what a float holds


class GeneralAbility(Record):
    """Mean loss of a label token, and its perplexity, before and after a training.

    Attributes:
        rows: general examples that no training saw.
        label_tokens: of these.
        loss_before: of the base model, without what the training adds to its vocabulary.
        loss_after: of the trained model.
        perplexity_before: exp of the loss.
        perplexity_after: likewise.
    """

    rows: int
    label_tokens: int
    loss_before: float
    loss_after: float
    perplexity_before: float
    perplexity_after: float

    @classmethod
    def of(cls, rows: int, label_tokens: int, before: float, after: float) -> GeneralAbility:
        """Return the figures of two losses in nats."""
        return cls(
            rows=rows,
            label_tokens=label_tokens,
            loss_before=before,
            loss_after=after,
            perplexity_before=_perplexity(before),
            perplexity_after=_perplexity(after),
        )

    @property
    def sentence(self) -> str:
        """What a person is told."""
        return (
            f"loss on {self.rows:,} general examples that no training saw:"
            f" {self.loss_before:.3f} before, {self.loss_after:.3f} after"
            f" (perplexity {self.perplexity_before:.4g}, {self.perplexity_after:.4g})"
        )


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, _MAX_EXPONENT))

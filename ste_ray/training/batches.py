"""Training rows as token ids, and micro-batches of them as tensors.

Labels are the response and the end-of-sequence token alone. Micro-batches are padded on the right
and carry no attention mask: under causal attention no real token sees the padding to its right, and
the attention kernel without a mask is the fastest. ``label_mask`` goes to the model as
``logits_to_keep=``, so that the head runs on the label positions alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

from ste_ray.core.records import TrainRow


@dataclass(frozen=True, slots=True)
class TokenisedRow:
    """A training row as token ids: ``prompt_tokens`` of context, then the labels."""

    row_id: str
    split: str
    input_ids: Sequence[int]
    prompt_tokens: int

    @property
    def label_tokens(self) -> int:
        """The number of tokens that carry loss."""
        return len(self.input_ids) - self.prompt_tokens


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows of one forward pass, as tensors of shape (rows, length)."""

    input_ids: torch.Tensor
    label_mask: torch.Tensor  # True where the logits predict a label, one before the label itself
    targets: torch.Tensor  # (labels,), in the order of the mask

    def to(self, device: torch.device) -> MicroBatch:
        """Return the same batch on ``device``."""
        return MicroBatch(
            self.input_ids.to(device), self.label_mask.to(device), self.targets.to(device)
        )


def tokenise(row: TrainRow, tokenizer: PreTrainedTokenizerFast) -> TokenisedRow:
    """Tokenise the dialog by the chat template and the response apart from it, then EOS.

    The dialog ends as a prompt at inference ends, so the model is trained on what it will see.
    """
    prompt = tokenizer.apply_chat_template(
        [message.model_dump() for message in row.dialog_history],
        tokenize=False,
        add_generation_prompt=True,
    )
    # The template writes the special tokens itself.
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    response_ids = tokenizer(row.response, add_special_tokens=False)["input_ids"]
    return TokenisedRow(
        row_id=row.row_id,
        split=row.split,
        input_ids=[*prompt_ids, *response_ids, tokenizer.eos_token_id],
        prompt_tokens=len(prompt_ids),
    )


def collate(rows: Sequence[TokenisedRow], pad_id: int) -> MicroBatch:
    """Return the rows as one right-padded batch.

    Without rows, it is one padding token without labels: a forward and backward pass that adds
    nothing, for a rank that has run out of rows while the others go on.
    """
    length = max((len(row.input_ids) for row in rows), default=1)
    shape = (max(len(rows), 1), length)
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    label_mask = torch.zeros(shape, dtype=torch.bool)
    for index, row in enumerate(rows):
        end = len(row.input_ids)
        input_ids[index, :end] = torch.as_tensor(row.input_ids)
        label_mask[index, row.prompt_tokens - 1 : end - 1] = True
    # The logits at a position predict the token after it.
    return MicroBatch(input_ids, label_mask, input_ids.roll(-1, dims=1)[label_mask])

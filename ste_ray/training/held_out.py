"""The loss of a model on rows that no training saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ste_ray.core.records import TrainRow
from ste_ray.training.batches import collate
from ste_ray.training.examples import RowTokenizer
from ste_ray.training.model import load_model
from ste_ray.training.tokenizer import load_tokenizer

_BATCH_TOKENS = 4096


def held_out_loss(
    folder: Path, rows: Sequence[TrainRow], max_tokens: int, trust_remote_code: bool = False
) -> tuple[int, int, float]:
    """Return the number of rows and label tokens that fit, and the mean loss of a label token.

    Args:
        folder: of the model.
        rows: with dialog and response; longer ones than ``max_tokens`` are left out.
        max_tokens: the longest row.
        trust_remote_code: run Python code that comes with the model.
    """
    tokenizer = load_tokenizer(str(folder), trust_remote_code)
    tokenise = RowTokenizer(tokenizer, max_tokens).tokenise
    fitting = [one for one in map(tokenise, rows) if len(one.input_ids) <= max_tokens]
    if not fitting:
        return 0, 0, 0.0
    num_rows = len(fitting)
    model = load_model(folder, trust_remote_code=trust_remote_code).eval()
    pad_id = tokenizer.pad_token_id or 0
    total, labels = 0.0, 0
    fitting.sort(key=lambda row: len(row.input_ids))
    with torch.inference_mode():
        while fitting:
            size = max(1, _BATCH_TOKENS // len(fitting[-1].input_ids))
            batch = collate(fitting[-size:], pad_id)
            del fitting[-size:]
            logits = model(input_ids=batch.input_ids, use_cache=False).logits[batch.label_mask]
            total += float(
                torch.nn.functional.cross_entropy(logits.float(), batch.targets, reduction="sum")
            )
            labels += len(batch.targets)
    return num_rows, labels, total / labels

"""The model as the ranks of a training hold it: whole on rank 0, then sharded over all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ste_ray.training.adapters import adapt
from ste_ray.training.attention import can_pack, can_share, use_packed_attention
from ste_ray.training.batches import Batching
from ste_ray.training.distributed import (
    keeps_frozen_whole,
    load_weights,
    lower_frozen,
    num_ranks,
    rank,
    shard_model,
    whole_weights,
)
from ste_ray.training.job import TrainJob
from ste_ray.training.model import empty_model, load_model
from ste_ray.training.toolkens import Vocabulary, add_rows, num_rows


class RankModels:
    """Makes the models that a rank needs.

    Args:
        job: what is trained.
        base: local folder of the base model, on other ranks than 0 without its weights.
        vocabulary: of the model, with its toolkens.
        device: of this rank.
    """

    def __init__(
        self, job: TrainJob, base: Path, vocabulary: Vocabulary, device: torch.device
    ) -> None:
        self._job = job
        self._base = base
        self._vocabulary = vocabulary
        self._device = device
        self._dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32

    def whole(self) -> Any:
        """Return the unsharded model; on other ranks than 0 its weights are not set."""
        if rank() != 0:
            return self.shell()
        model = load_model(self._base, self._dtype, self._job.trust_remote_code)
        add_rows(model, self._vocabulary)
        return self._adapted(model)

    def shell(self) -> Any:
        """Return an unsharded model whose weights are not set."""
        rows = num_rows(self._job.base_rows, self._vocabulary.num_tokens)
        trusted = self._job.trust_remote_code
        return self._adapted(empty_model(self._base, rows, self._dtype, trusted))

    def to_fill(self) -> Any:
        """Return an unsharded model that a trained one's weights, without frozen ones, complete."""
        return self.shell() if self._job.config.mode == "full" else self.whole()

    def batching(self, whole: Any) -> Batching:
        """Return how rows are batched, and make a model that is not sharded yet ready for it."""
        config = self._job.config
        plain = getattr(whole, "get_base_model", lambda: whole)()  # of an adapted one
        share = not config.use_gpu and can_share(whole, plain.config)
        packed = config.batching == "packed"
        if config.batching == "auto":
            packed = can_pack(plain) and (config.use_gpu or (share and self._is_sure(plain)))
        if not packed:
            return "grouped"
        use_packed_attention(plain)
        return "shared" if share else "packed"

    def _is_sure(self, plain: Any) -> bool:
        """Whether packing on a CPU is chosen unasked."""
        # Rotary positions are those the model is told; elsewhere some are counted anew. Compiled
        # layers are for tensors of few shapes, and packs have many.
        rotary = getattr(plain.config.get_text_config(), "rope_parameters", None)
        return bool(rotary) and not self._job.config.compile

    def sharded(self, whole: Any) -> Any:
        """Return the model on this rank's device, in parts if there are several ranks."""
        weights = whole_weights(whole) if rank() == 0 and num_ranks() > 1 else {}
        frozen_whole = keeps_frozen_whole(whole)
        model = shard_model(
            whole,
            self._device,
            self._job.precision,
            activation_checkpointing=self._job.config.activation_checkpointing,
            compile_layers=self._job.config.compile,
        )
        if num_ranks() > 1:
            load_weights(model, weights)
        if frozen_whole and self._job.precision == "mixed" and dist.is_initialized():
            lower_frozen(model)
        return model

    def _adapted(self, model: Any) -> Any:
        return adapt(model, self._job.config, self._vocabulary.ids.values(), self._job.seed)

"""Decodes replies with a model of transformers, one at a time, in a thread of their own.

A reply that nobody waits for any more ends with its next token, and what it held is freed. Requests
wait in the order in which they came.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

_END = None


@dataclass(frozen=True)
class Asked:
    """What is to be decoded.

    Attributes:
        prompt: token ids.
        config: how tokens are chosen, and how many at most.
        processors: of transformers, which bind or weigh tokens.
        seed: of what is drawn; None: any.
    """

    prompt: Sequence[int]
    config: GenerationConfig
    processors: Sequence[Any] = ()
    seed: int | None = None


class Decoder:
    """Decodes with one model.

    Args:
        model: a causal language model of transformers.

    Attributes:
        num_waiting: replies that are being decoded or wait for it.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decoding")
        self.num_waiting = 0
        self._ended: set[threading.Event] = set()

    async def tokens(self, asked: Asked) -> AsyncGenerator[int, None]:
        """Yield the token ids of a reply as they come; the reply ends with the iteration.

        Raises:
            RuntimeError: the device fails, or memory does not suffice.
        """
        loop = asyncio.get_running_loop()
        found: asyncio.Queue[int | BaseException | None] = asyncio.Queue()
        ended = threading.Event()

        def put(item: int | BaseException | None) -> None:
            if not ended.is_set():
                loop.call_soon_threadsafe(found.put_nowait, item)

        def decode() -> None:
            try:
                if not ended.is_set():
                    self._decode(asked, put, ended)
                put(_END)
            except BaseException as error:  # handed to whoever waits
                put(error)

        self.num_waiting += 1
        self._ended.add(ended)
        self._thread.submit(decode)
        try:
            while (item := await found.get()) is not _END:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            ended.set()
            self._ended.discard(ended)
            self.num_waiting -= 1

    def close(self) -> None:
        """End what is being decoded; wait for the token that is under way."""
        for ended in list(self._ended):
            ended.set()
        self._thread.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def _decode(self, asked: Asked, put: Any, ended: threading.Event) -> None:
        if asked.seed is not None:
            torch.manual_seed(asked.seed)
        prompt = torch.tensor([list(asked.prompt)], device=self._model.device)
        self._model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=asked.config,
            streamer=_Streamer(put),
            logits_processor=LogitsProcessorList(asked.processors),
            stopping_criteria=StoppingCriteriaList([_Ended(ended)]),
        )


class _Streamer:
    """Fulfils the protocol of transformers: is given the prompt first, then each token."""

    def __init__(self, put: Any) -> None:
        self._put = put
        self._begun = False

    def put(self, value: torch.Tensor) -> None:
        if self._begun:
            for token in value.flatten().tolist():
                self._put(int(token))
        self._begun = True

    def end(self) -> None:
        """Nothing is held back."""


class _Ended:
    """Fulfils the ``StoppingCriteria`` protocol: ends what nobody waits for."""

    def __init__(self, ended: threading.Event) -> None:
        self._is_ended = ended

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        ended = self._is_ended.is_set()
        return torch.full((input_ids.shape[0],), ended, device=input_ids.device, dtype=torch.bool)

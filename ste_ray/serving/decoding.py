"""Decodes replies with a model of transformers, one at a time, in a thread of their own.

A reply that nobody waits for any more ends with its next token, and what it held is freed. Requests
wait in the order in which they came.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from ste_ray.process.memory import is_lack_of_memory

_MAX_REASON_CHARS = 300
_CLOSE_SECONDS = 2.0


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


class FailedReplyError(Exception):
    """A reply could not be decoded. It holds the reason as text, and nothing of the model's.

    Attributes:
        lacks_memory: whether memory did not suffice.
    """

    def __init__(self, reason: str, lacks_memory: bool) -> None:
        super().__init__(reason)
        self.lacks_memory = lacks_memory


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
        self._last: Future[None] | None = None

    async def tokens(self, asked: Asked) -> AsyncGenerator[int, None]:
        """Yield the token ids of a reply as they come; the reply ends with the iteration.

        Raises:
            FailedReplyError: the device or the model fails, or memory does not suffice.
        """
        loop = asyncio.get_running_loop()
        found: asyncio.Queue[int | FailedReplyError | None] = asyncio.Queue()
        ended = threading.Event()

        def put(item: int | FailedReplyError | None) -> None:
            if not ended.is_set():
                loop.call_soon_threadsafe(found.put_nowait, item)

        def decode() -> None:
            put(None if ended.is_set() else self._decode(asked, put, ended))

        self.num_waiting += 1
        self._ended.add(ended)
        self._last = self._thread.submit(decode)
        try:
            while (item := await found.get()) is not None:
                if isinstance(item, FailedReplyError):
                    raise item
                yield item
        finally:
            item = None  # an error holds the frame it is raised in
            ended.set()
            self._ended.discard(ended)
            self.num_waiting -= 1

    def close(self) -> None:
        """End what is being decoded; wait a little for the token that is under way.

        The first one of a long prompt may take minutes: its thread is left to itself.
        """
        for ended in list(self._ended):
            ended.set()
        if self._last is not None:
            wait([self._last], _CLOSE_SECONDS)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _decode(
        self, asked: Asked, put: Callable[[int], None], ended: threading.Event
    ) -> FailedReplyError | None:
        """Decode a whole reply; return why it failed, or None."""
        try:
            self._generate(asked, put, ended)
        except BaseException as error:  # or who waits for it would wait for ever
            # The error itself holds the frames that raised it, and so all tensors in them.
            reason = " ".join(str(error).split())[:_MAX_REASON_CHARS] or type(error).__name__
            return FailedReplyError(reason, is_lack_of_memory(error))
        return None

    @torch.inference_mode()
    def _generate(self, asked: Asked, put: Callable[[int], None], ended: threading.Event) -> None:
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

    def __init__(self, put: Callable[[int], None]) -> None:
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

"""A local model answers one request at a time; what it generates can be ended at any token."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from ste_ray.config import Config
from ste_ray.core.effects import ToolResult
from ste_ray.core.inferring.settings import PromptMaterial, Query, Setting
from ste_ray.core.records import Prediction
from ste_ray.generation.model import LocalModel
from ste_ray.generation.predict import AnsweredQuery, Predictor
from ste_ray.stages.ask.exchange import Answerer, Reply
from ste_ray.stages.infer.models import configured_decoding
from ste_ray.stages.infer.watching import Watch


class _EndedError(Exception):
    """Nobody waits for the answer any more. No ``RuntimeError``, which decoding would explain."""


class LocalAssistant:
    """Fulfils ``exchange.Assistant`` with a local model.

    Attributes:
        answerer: a model.

    Args:
        model: the model.
        setting: what prompts show.
        material: what they are made of.
        config: how answers are decoded.

    Raises:
        ConfigError: the model has too few positions for answers of the length asked for.
        StageInputError: the setting needs toolkens and the model has none.
    """

    answerer: Answerer = "model"

    def __init__(
        self, model: LocalModel, setting: Setting, material: PromptMaterial, config: Config
    ) -> None:
        section = config.infer
        self._watch = Watch(f"setting {setting.name!r}", section.stall_seconds)
        self._one_at_a_time = threading.Lock()
        self._ended = threading.Event()  # of what is being generated
        decoding, constrained = configured_decoding(config), section.constrained
        self._predictor = Predictor(
            model, setting, material, decoding, constrained, self._on_tokens
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Yield; there is nothing to open."""
        yield

    async def reply(self, query: Query) -> Reply:
        """Answer a query, up to where a call would be made."""
        (answered,) = await self._generate(self._answer, query)

        async def conclude(result: ToolResult) -> Prediction:
            (prediction,) = await self._generate(self._predictor.conclude, [answered], {0: result})
            found: Prediction = prediction
            return found

        return Reply(answered.prediction, conclude)

    def _answer(self, query: Query) -> list[AnsweredQuery]:
        return self._predictor.answer([query], self._predictor.prompts([query]))

    async def _generate(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run what generates in a thread, which ends with its next token if this is cancelled."""
        ended = threading.Event()

        def generate() -> Any:
            with self._one_at_a_time:  # one that was ended may still be at its last token
                self._ended = ended
                with suppress(_EndedError):
                    return function(*arguments)

        try:
            return await self._watch.run(generate)
        except asyncio.CancelledError:
            ended.set()
            raise

    def _on_tokens(self, _: int) -> None:
        self._watch.step()
        if self._ended.is_set():
            raise _EndedError

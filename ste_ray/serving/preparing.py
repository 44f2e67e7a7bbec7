"""What a request needs before its reply can be decoded: read, checked, and its prompt written.

Texts of megabytes and grammars of many tools take seconds, so it is done in a thread of its own,
one request after the other, while the event loop goes on serving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ste_ray.serving.decoding import Asked
from ste_ray.serving.drift import ToolWatch
from ste_ray.serving.model import ServedModel
from ste_ray.serving.replies import ReplyReader
from ste_ray.serving.requests import ChatRequest, RequestError, read_request

_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Received:
    """A request that was read.

    Attributes:
        request: the request.
        headers: of the response, whatever it is: they tell what of the tools has changed.
    """

    request: ChatRequest
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Prepared:
    """A request whose reply can be decoded.

    Attributes:
        request: the request.
        wanted: what is to be decoded.
        reader: reads the reply.
        headers: of the response.
    """

    request: ChatRequest
    wanted: Asked
    reader: ReplyReader
    headers: Mapping[str, str]


class Preparation:
    """Prepares requests for one model.

    Args:
        model: the model.
        log: is told of tools that have changed.
    """

    def __init__(self, model: ServedModel, log: Callable[[str], None]) -> None:
        self._model = model
        self._watch = ToolWatch(model.trained, model.known_names, log)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="preparing")

    async def read(self, body: bytes) -> Received:
        """Return a request as it was sent.

        Raises:
            RequestError: it cannot be read, or is of another model.
        """
        return await self._beside(self._received, body)

    async def prepare(self, received: Received) -> Prepared:
        """Return what a request asks for.

        Raises:
            RequestError: it cannot be honoured.
        """
        return await self._beside(self._prepared, received)

    async def _beside(self, work: Callable[[_Given], _Found], given: _Given) -> _Found:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, given)

    def close(self) -> None:
        """Leave what waits; what is being prepared goes to its end, for nobody."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def check_name(self, name: str) -> None:
        """Refuse any other name of a model.

        Raises:
            RequestError: it is another one.
        """
        if name != self._model.name:
            raise RequestError(
                f"model={name!r} is not served here; there is {self._model.name!r}",
                "model",
                "model_not_found",
                404,
            )

    def _received(self, body: bytes) -> Received:
        request = read_request(body, self._model.known_names or ())
        self.check_name(request.model)
        return Received(request, self._watch.headers(request.offered))

    def _prepared(self, received: Received) -> Prepared:
        model, request = self._model, received.request
        wanted = model.asked(request)
        shown = model.tokenizer.decode(list(wanted.prompt))
        names = model.names_of(request)
        reader = ReplyReader(model.tokenizer, model.template, shown, request.offered, names)
        return Prepared(request, wanted, reader, received.headers)

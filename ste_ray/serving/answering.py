"""The reply to one request as it is decoded: its pieces for the client, and why it ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from ste_ray.serving.decoding import Decoder, FailedReplyError
from ste_ray.serving.preparing import Prepared
from ste_ray.serving.replies import Piece
from ste_ray.serving.requests import RequestError
from ste_ray.serving.stops import StopTexts
from ste_ray.serving.wire import Reply


class Answer:
    """Answers one request, once.

    Args:
        prepared: the request.
        decoder: decodes the reply.
        reply: how long it is and why it ended is noted there.
        log: is told of replies that failed, or were not what they looked like.
    """

    def __init__(
        self, prepared: Prepared, decoder: Decoder, reply: Reply, log: Callable[[str], None]
    ) -> None:
        self._prepared = prepared
        self._decoder = decoder
        self._reply = reply
        self._log = log
        self._last: int | None = None  # token that was decoded

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Yield the reply as it comes; it ends with the iteration.

        Raises:
            RequestError: it could not be decoded, or lacks the call that was asked for.
        """
        request = self._prepared.request
        stops, num_calls = StopTexts(request.stops), 0
        async with aclosing(self._read()) as read:
            async for come in read:
                for piece in stops.feed(come):
                    yield piece
                    num_calls += piece.kind == "call"
                if stops.found or (num_calls and request.parallel_tool_calls is False):
                    break
        for piece in stops.finish():
            yield piece
        if problem := self._prepared.reader.problem:
            self._log(f"serve: what began like a call is given as text: {problem}")
        full = not stops.found and self._is_full()
        self._reply.finish = "tool_calls" if num_calls else "length" if full else "stop"
        if request.forced and not num_calls:
            raise RequestError(
                f"the reply ended after {self._reply.num_tokens} tokens without the call that"
                " tool_choice asks for; raise max_tokens",
                "tool_choice",
                "no_tool_call",
                500,
            )

    async def _read(self) -> AsyncGenerator[Piece, None]:
        reader = self._prepared.reader
        async with aclosing(self._tokens()) as tokens:
            async for token in tokens:
                self._last = token
                self._reply.num_tokens += 1
                for piece in reader.feed(token):
                    yield piece
        for piece in reader.finish():
            yield piece

    async def _tokens(self) -> AsyncGenerator[int, None]:
        try:
            async with aclosing(self._decoder.tokens(self._prepared.wanted)) as tokens:
                async for token in tokens:
                    yield token
        except FailedReplyError as error:
            self._log(f"serve: decoding failed: {error}")
            if error.lacks_memory:
                raise RequestError(
                    "memory did not suffice for this conversation; shorten it or lower max_tokens",
                    code="out_of_memory",
                    status=503,
                ) from None
            raise RequestError(
                f"decoding failed: {error}", code="decoding_failed", status=500
            ) from None

    def _is_full(self) -> bool:
        """Whether the reply was cut at the most tokens that it may have."""
        config = self._prepared.wanted.config
        ended = self._last in (config.eos_token_id or ())
        return self._reply.num_tokens >= (config.max_new_tokens or 0) and not ended

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
        request, reader = self._prepared.request, self._prepared.reader
        stops, num_calls, behind = StopTexts(request.stops), 0, ""
        async with aclosing(self._read()) as read:
            async for come in read:
                for piece in stops.feed(come):
                    yield piece
                    is_call = piece.kind == "call"
                    num_calls, behind = num_calls + is_call, "" if is_call else behind + piece.text
                if stops.found or (num_calls and request.parallel_tool_calls is False):
                    break
        for piece in stops.finish():
            yield piece
            behind += piece.text
        if reader.problem:
            self._log(f"serve: what began like a call is given as text: {reader.problem}")
        # A call that was whole with the last token was not cut.
        is_whole = bool(num_calls) and not behind.strip() and not reader.left_out
        is_cut = not stops.found and self._is_full() and not is_whole
        if request.forced and not num_calls:
            raise self._lacks_call(stops.found, is_cut)
        self._reply.finish = "length" if is_cut else "tool_calls" if num_calls else "stop"

    def _lacks_call(self, stopped: bool, is_cut: bool) -> RequestError:
        if stopped:
            reason = "one of the texts of 'stop' ended it; leave that one out"
        elif is_cut:
            reason = "it may have no more; raise max_tokens, or shorten the conversation"
        elif problem := self._prepared.reader.problem:
            reason = f"what began like a call cannot be read ({problem}); ask again"
        else:
            reason = "the model ended it; ask again, in other words"
        return RequestError(
            f"the reply ended after {self._reply.num_tokens} tokens without the call that"
            f" tool_choice asks for: {reason}",
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
        for piece in reader.finish(is_cut=self._is_full()):
            yield piece
        if reader.left_out:
            self._log("serve: a call that was cut at the last token of the reply is left out")

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

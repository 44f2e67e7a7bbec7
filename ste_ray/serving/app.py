"""The web application of a served model: ``/v1/chat/completions``, ``/v1/models``, ``/health``.

Every error has OpenAI's shape. A client that goes away ends its reply. Replies are decoded one
after the other; nothing of a request is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from aiohttp import web

from ste_ray.process.memory import is_lack_of_memory
from ste_ray.process.web_app import http_address, serve_app
from ste_ray.serving.decoding import Asked, Decoder
from ste_ray.serving.drift import ToolWatch
from ste_ray.serving.model import ServedModel
from ste_ray.serving.replies import Piece, ReplyReader
from ste_ray.serving.requests import ChatRequest, RequestError, read_request
from ste_ray.serving.stops import until_stop
from ste_ray.serving.wire import Reply, error_body, event

_MAX_BODY_BYTES = 16 * 2**20
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SSE = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}


class ModelServer:
    """Answers for one model.

    Args:
        model: the model.
        decoder: decodes with it.
        log: is told what happens, line by line.
    """

    def __init__(self, model: ServedModel, decoder: Decoder, log: Callable[[str], None]) -> None:
        self._model = model
        self._decoder = decoder
        self._log = log
        self._watch = ToolWatch(model.trained, model.known_names, log)
        self._started = int(time.time())

    def app(self) -> web.Application:
        """Return the web application."""
        app = web.Application(middlewares=[self._errors], client_max_size=_MAX_BODY_BYTES)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.get("/v1/models", self._models),
                web.get("/v1/models/{name:.+}", self._one_model),
                web.get("/health", self._health),
            ]
        )
        return app

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        began = time.monotonic()
        asked = read_request(await request.read())
        self._check_name(asked.model)
        headers = self._watch.headers(asked.offered)
        wanted = self._model.asked(asked)
        reply = Reply(self._model.name, len(wanted.prompt))
        try:
            if asked.stream:
                return await self._streamed(request, asked, wanted, reply, headers)
            async with aclosing(self._pieces(asked, wanted, reply)) as pieces:
                async for piece in pieces:
                    reply.pieces.append(piece)
            return web.json_response(reply.completion(), headers=headers)
        except asyncio.CancelledError:
            self._log(f"serve: a client went away after {reply.num_tokens} tokens of its reply")
            raise
        finally:
            seconds = time.monotonic() - began
            self._log(
                f"serve: {reply.num_prompt} tokens asked, {reply.num_tokens} answered"
                f" ({reply.finish}) in {seconds:.1f} s"
            )

    async def _streamed(
        self,
        request: web.Request,
        asked: ChatRequest,
        wanted: Asked,
        reply: Reply,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={**_SSE, **headers})
        await response.prepare(request)
        await response.write(reply.first_chunk())
        try:
            async with aclosing(self._pieces(asked, wanted, reply)) as pieces:
                async for piece in pieces:
                    await response.write(reply.chunk(piece))
        except RequestError as error:  # the status is sent already
            await response.write(event(error_body(error.message, "server_error", code=error.code)))
        else:
            options = asked.stream_options
            with_usage = bool(options and options.include_usage)
            await response.write(reply.last_chunks(with_usage=with_usage))
        await response.write_eof()
        return response

    async def _pieces(
        self, asked: ChatRequest, wanted: Asked, reply: Reply
    ) -> AsyncGenerator[Piece, None]:
        """Yield a reply as it comes, and note in ``reply`` how long it is and why it ended."""
        model = self._model
        shown = model.tokenizer.decode(list(wanted.prompt))
        names = model.names_of(asked)
        reader = ReplyReader(model.tokenizer, model.template, shown, asked.offered, names)
        last, num_calls = None, 0
        one_call = asked.parallel_tool_calls is False

        async def read() -> AsyncGenerator[Piece, None]:
            nonlocal last
            async with aclosing(self._tokens(wanted)) as tokens:
                async for last in tokens:
                    reply.num_tokens += 1
                    for piece in reader.feed(last):
                        yield piece
            for piece in reader.finish():
                yield piece

        async with aclosing(read()) as whole, aclosing(until_stop(whole, asked.stops)) as pieces:
            async for piece in pieces:
                yield piece
                num_calls += piece.kind == "call"
                if one_call and num_calls:
                    break
        if reader.problem:
            self._log(f"serve: what began like a call is given as text: {reader.problem}")
        ends = self._model.model.generation_config.eos_token_id
        ends = set(ends) if isinstance(ends, list) else {ends}
        full = reply.num_tokens >= (wanted.config.max_new_tokens or 0) and last not in ends
        reply.finish = "tool_calls" if num_calls else "length" if full else "stop"
        if asked.forced and not num_calls:
            raise RequestError(
                f"the reply ended after {reply.num_tokens} tokens without the call that tool_choice"
                " asks for; raise max_tokens",
                "tool_choice",
                "no_tool_call",
                500,
            )

    async def _tokens(self, wanted: Asked) -> AsyncGenerator[int, None]:
        try:
            async with aclosing(self._decoder.tokens(wanted)) as tokens:
                async for token in tokens:
                    yield token
        except (RuntimeError, MemoryError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            self._log(f"serve: decoding failed: {reason}")
            if is_lack_of_memory(error):
                raise RequestError(
                    "memory did not suffice for this conversation; shorten it or lower max_tokens",
                    code="out_of_memory",
                    status=503,
                ) from None
            raise RequestError(
                f"decoding failed: {reason}", code="decoding_failed", status=500
            ) from None

    def _check_name(self, name: str) -> None:
        if name != self._model.name:
            raise RequestError(
                f"model={name!r} is not served here; there is {self._model.name!r}",
                "model",
                "model_not_found",
                404,
            )

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [self._told()]})

    async def _one_model(self, request: web.Request) -> web.Response:
        self._check_name(request.match_info["name"])
        return web.json_response(self._told())

    def _told(self) -> dict[str, Any]:
        return {
            "id": self._model.name,
            "object": "model",
            "created": self._started,
            "owned_by": "ste-ray",
            "max_model_len": self._model.max_positions,
        }

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "requests": self._decoder.num_waiting})

    @web.middleware
    async def _errors(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Give every refusal OpenAI's shape."""
        try:
            return await handler(request)
        except RequestError as error:
            kind = "invalid_request_error" if error.status < 500 else "server_error"
            self._log(f"serve: {error.status}: {error.message}")
            body = error_body(error.message, kind, error.param, error.code)
            return web.json_response(body, status=error.status)
        except web.HTTPException as error:
            message = f"{request.method} {request.path}: {error.reason}"
            if error.status in (404, 405):
                message += "; there is POST /v1/chat/completions, GET /v1/models and GET /health"
            return web.json_response(
                error_body(message, "invalid_request_error"), status=error.status
            )


async def serve(server: ModelServer, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until cancelled; ``ready`` gets the base URL. Port 0 takes a free one.

    Raises:
        OSError: the address cannot be bound.
    """
    await serve_app(
        server.app(),
        host,
        port,
        lambda *address: ready(f"{http_address(*address)}/v1"),
    )

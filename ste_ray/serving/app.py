"""The web application of a served model: ``/v1/chat/completions``, ``/v1/models``, ``/health``.

Every error has OpenAI's shape. A client that goes away ends its reply. Replies are decoded one
after the other; nothing of a request is kept.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from aiohttp import web

from ste_ray.process.web_app import http_address, serve_app
from ste_ray.serving.answering import Answer
from ste_ray.serving.decoding import Decoder
from ste_ray.serving.model import ServedModel
from ste_ray.serving.preparing import Preparation, Prepared, Received
from ste_ray.serving.requests import RequestError
from ste_ray.serving.wire import Reply, error_body, event

_MAX_BODY_BYTES = 16 * 2**20
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SSE = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
_Made = TypeVar("_Made")
_OURS = "the server failed at this request, which is no fault of yours; its log says why"


class ModelServer:
    """Answers for one model.

    Args:
        model: the model.
        decoder: decodes with it.
        log: is told what happens, line by line; from several threads.
    """

    def __init__(self, model: ServedModel, decoder: Decoder, log: Callable[[str], None]) -> None:
        self._model = model
        self._decoder = decoder
        self._log = log
        self._preparation = Preparation(model, log)
        self._num_requests = 0
        self._started = int(time.time())

    def app(self) -> web.Application:
        """Return the web application; what it does for requests ends with it."""
        app = web.Application(middlewares=[self._errors], client_max_size=_MAX_BODY_BYTES)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.get("/v1/models", self._models),
                web.get("/v1/models/{name:.+}", self._one_model),
                web.get("/health", self._health),
            ]
        )
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, _: web.Application) -> None:
        self._preparation.close()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self._num_requests += 1
        try:
            received = await self._before(self._received(request))
            try:
                prepared = await self._before(self._preparation.prepare(received))
                return await self._answered(request, prepared)
            except ConnectionError:
                raise
            except Exception as error:
                return self._refused(request, error, received.headers)
        finally:
            self._num_requests -= 1

    async def _received(self, request: web.Request) -> Received:
        return await self._preparation.read(await request.read())

    async def _before(self, work: Awaitable[_Made]) -> _Made:
        try:
            return await work
        except (asyncio.CancelledError, ConnectionError):
            self._log("serve: a client went away before its reply began")
            raise

    async def _answered(self, request: web.Request, prepared: Prepared) -> web.StreamResponse:
        began = time.monotonic()
        reply = Reply(self._model.name, len(prepared.wanted.prompt))
        answer = Answer(prepared, self._decoder, reply, self._log)
        try:
            if prepared.request.stream:
                return await self._streamed(request, prepared, answer, reply)
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    reply.pieces.append(piece)
            return web.json_response(reply.completion(), headers=prepared.headers)
        except (asyncio.CancelledError, ConnectionError):
            self._log(f"serve: a client went away after {reply.num_tokens} tokens of its reply")
            raise
        finally:
            seconds = time.monotonic() - began
            self._log(
                f"serve: {reply.num_prompt} tokens asked, {reply.num_tokens} answered"
                f" ({reply.finish or 'not finished'}) in {seconds:.1f} s"
            )

    async def _streamed(
        self, request: web.Request, prepared: Prepared, answer: Answer, reply: Reply
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={**_SSE, **prepared.headers})
        await response.prepare(request)
        try:
            async for chunk in _chunks(prepared, answer, reply):
                await response.write(chunk)
        except ConnectionError:
            raise
        except Exception as error:  # the status is sent already
            told = self._told(error)
            await response.write(event(_body_of(told)))
        await response.write_eof()
        return response

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [self._described()]})

    async def _one_model(self, request: web.Request) -> web.Response:
        self._preparation.check_name(request.match_info["name"])
        return web.json_response(self._described())

    def _described(self) -> dict[str, Any]:
        return {
            "id": self._model.name,
            "object": "model",
            "created": self._started,
            "owned_by": "ste-ray",
            "max_model_len": self._model.max_positions,
        }

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "requests": self._num_requests})

    @web.middleware
    async def _errors(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Give every refusal OpenAI's shape."""
        try:
            return await handler(request)
        except ConnectionError:  # whom should it be told?
            raise
        except Exception as error:
            return self._refused(request, error, {})

    def _refused(
        self, request: web.Request, error: Exception, headers: Mapping[str, str]
    ) -> web.Response:
        told = self._told(_of_http(request, error))
        return web.json_response(_body_of(told), status=told.status, headers=headers)

    def _told(self, error: Exception) -> RequestError:
        """Return what a client is told of an error, and log it."""
        if isinstance(error, RequestError):
            self._log(f"serve: {error.status}: {error.message}")
            return error
        self._log("serve: " + "".join(traceback.format_exception(error)).rstrip())
        return RequestError(_OURS, code="internal_error", status=500)


async def _chunks(prepared: Prepared, answer: Answer, reply: Reply) -> AsyncGenerator[bytes, None]:
    yield reply.first_chunk()
    async with aclosing(answer.pieces()) as pieces:
        async for piece in pieces:
            yield reply.chunk(piece)
    options = prepared.request.stream_options
    yield reply.last_chunks(with_usage=bool(options and options.include_usage))


def _of_http(request: web.Request, error: Exception) -> Exception:
    """Return an error of HTTP as one of a request; others as they are."""
    if isinstance(error, web.RequestPayloadError):
        return RequestError(f"the body cannot be read ({error}); send a JSON object")
    if not isinstance(error, web.HTTPException):
        return error
    message = f"{request.method} {request.path}: {error.reason}"
    if error.status in (404, 405):
        message += "; there is POST /v1/chat/completions, GET /v1/models and GET /health"
    return RequestError(message, code="invalid_request_error", status=error.status)


def _body_of(error: RequestError) -> dict[str, Any]:
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return error_body(error.message, kind, error.param, error.code)


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

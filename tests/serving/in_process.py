"""A folder served within the test's own process, and asked by the official client."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any

import openai
from aiohttp.test_utils import TestClient, TestServer

from ste_ray.config import load_config
from ste_ray.serving.app import ModelServer
from ste_ray.serving.decoding import Decoder
from ste_ray.serving.model import ServedModel
from ste_ray.stages.serve.opening import Target, open_model


def opened(folder: Any) -> contextlib.AbstractContextManager[ServedModel]:
    """Return the model of a folder, as it is served."""
    return open_model(Target(str(folder), "mine"), load_config(None, []), print)


@contextlib.asynccontextmanager
async def client_of(model: ServedModel, log: Any = print) -> AsyncGenerator[openai.AsyncOpenAI]:
    """Serve a model, and yield a client of it."""
    decoder = Decoder(model.model)
    try:
        async with TestServer(ModelServer(model, decoder, log).app()) as server:
            url = str(server.make_url("/v1"))
            async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
                yield client
    finally:
        decoder.close()


@contextlib.contextmanager
def posting(model: ServedModel, log: Any = print) -> Iterator[Callable[..., tuple[int, bytes]]]:
    """Serve a model, and yield what sends a body, as it is, and returns status and content."""
    with asyncio.Runner() as runner:
        decoder = Decoder(model.model)
        client: TestClient[Any, Any]

        async def start() -> TestClient[Any, Any]:
            found = TestClient(TestServer(ModelServer(model, decoder, log).app()))
            await found.start_server()
            return found

        def post(
            body: Any, path: str = "/v1/chat/completions", method: str = "POST", **headers: str
        ) -> tuple[int, bytes]:
            async def send() -> tuple[int, bytes]:
                names = {name.replace("_", "-"): value for name, value in headers.items()}
                async with client.request(method, path, data=body, headers=names) as response:
                    return response.status, await response.read()

            return runner.run(send())

        client = runner.run(start())
        try:
            yield post
        finally:
            runner.run(client.close())
            decoder.close()


def asked(
    model: ServedModel, ask: Callable[[openai.AsyncOpenAI], Awaitable[Any]], log: Any = print
) -> Any:
    """Return what a client of a model gets."""

    async def main() -> Any:
        async with client_of(model, log) as client:
            return await ask(client)

    return asyncio.run(main())


async def reply(client: openai.AsyncOpenAI, content: str, **fields: Any) -> Any:
    """Return the only choice of the reply to a request."""
    messages = [{"role": "user", "content": content}]
    found = await client.chat.completions.create(
        **{"model": "mine", "messages": messages, **fields}
    )
    return found.choices[0]


def call_of(choice: Any) -> tuple[str, Any]:
    """Return the only call of a reply."""
    (call,) = choice.message.tool_calls
    return call.function.name, json.loads(call.function.arguments)

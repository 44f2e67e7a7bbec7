"""A web application that is served until it is told to end."""

import asyncio
import contextlib

import aiohttp
import pytest
from aiohttp import web

from ste_ray.process.web_app import http_address, serve_app


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_tells_the_address_that_answers_and_ends_when_cancelled(host):
    asyncio.run(_served_and_ended(host))


async def _served_and_ended(host):
    async def hello(request):
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    ready = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve_app(app, host, 0, lambda *address: ready.set_result(http_address(*address)))
    )
    address = await asyncio.wait_for(ready, 10)
    async with aiohttp.ClientSession() as session:
        async with session.get(address) as response:
            assert await response.text() == "hello"
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(address)

"""Requests are prepared beside the event loop: others are answered, and who goes away is left."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from contextlib import asynccontextmanager

import aiohttp

from ste_ray.serving.app import ModelServer, serve
from ste_ray.serving.decoding import Decoder
from tests.served_model import GREETING, REPLY, REQUEST, STORY, tool
from tests.serving.in_process import asked, reply

BODY = {"model": "mine", "messages": [{"role": "user", "content": STORY}], "max_tokens": 500}
BODY["logit_bias"] = {"2": -100}  # or it might end by itself


def waiting(model):
    """Return a model whose prompts wait to be written, what says that one does, and lets it."""
    begun, go_on = threading.Event(), threading.Event()

    def write(request):
        begun.set()
        assert go_on.wait(30)
        return model.write(request)

    return dataclasses.replace(model, write=write), begun, go_on


def test_the_server_answers_while_a_prompt_is_written(native_model):
    slow, begun, go_on = waiting(native_model)

    async def ask(client):
        waits = asyncio.create_task(reply(client, GREETING))
        assert await asyncio.to_thread(begun.wait, 30)
        listed = await asyncio.wait_for(client.models.list(), 10)
        assert not waits.done()
        go_on.set()
        return listed.data[0].id, (await waits).message.content

    assert asked(slow, ask) == ("mine", REPLY)


def test_the_server_answers_while_a_grammar_is_made(native_model):
    begun, go_on = threading.Event(), threading.Event()

    def bind(*arguments):
        begun.set()
        assert go_on.wait(30)
        return native_model.bind(*arguments)

    slow = dataclasses.replace(native_model, bind=bind)

    async def ask(client):
        fields = {"tools": [tool()], "tool_choice": "required", "max_tokens": 200}
        waits = asyncio.create_task(reply(client, REQUEST, **fields))
        assert await asyncio.to_thread(begun.wait, 30)
        await asyncio.wait_for(client.models.list(), 10)
        go_on.set()
        return (await waits).finish_reason

    assert asked(slow, ask) == "tool_calls"


@asynccontextmanager
async def listening(model, log):
    """Serve as the command does, by which a client that goes away is noticed."""
    decoder = Decoder(model.model)
    ready = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(ModelServer(model, decoder, log), "127.0.0.1", 0, ready.set_result)
    )
    try:
        async with aiohttp.ClientSession() as session:
            yield session, await ready, decoder
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        await asyncio.to_thread(decoder.close)


async def until(count, number):
    for _ in range(3000):
        if await count() == number:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(await count())


def test_who_goes_away_frees_the_slot_at_each_point(native_model):
    """While the prompt is written, while the reply waits for its turn, and while it is decoded."""
    slow, begun, go_on = waiting(native_model)
    lines = []

    async def main():
        async with listening(slow, lines.append) as (session, url, decoder):

            async def send(**fields):
                data = json.dumps({**BODY, **fields})
                async with session.post(f"{url}/chat/completions", data=data) as response:
                    return await response.read()

            async def num_requests():
                async with session.get(f"{url.removesuffix('/v1')}/health") as response:
                    return (await response.json())["requests"]

            async def num_waiting():
                return decoder.num_waiting

            async def leave(*tasks):
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

            written = asyncio.create_task(send())
            assert await asyncio.to_thread(begun.wait, 30)
            queued = asyncio.create_task(send())
            await until(num_requests, 2)
            await leave(written, queued)
            await until(num_requests, 0)
            assert decoder.num_waiting == 0
            go_on.set()

            decoded = asyncio.create_task(send(stream=True))
            waits = asyncio.create_task(send())
            await until(num_waiting, 2)
            await leave(waits, decoded)
            await until(num_requests, 0)
            assert decoder.num_waiting == 0
            greeting = [{"role": "user", "content": GREETING}]
            found = json.loads(await send(messages=greeting, logit_bias=None))
            assert found["choices"][0]["message"]["content"] == REPLY

    asyncio.run(main())
    left = [line for line in lines if "went away" in line]
    assert len(left) == 4, lines
    assert not any("Traceback" in line for line in lines)

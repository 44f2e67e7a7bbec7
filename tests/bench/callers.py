"""Other ways to make the same calls, each run as a process of its own: CALLER URL SECONDS.

Prints the calls that were answered and the CPU seconds of this process as JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import openai

IN_FLIGHT = 100
PROMPT = "Think of a request that a person could make, and answer it with the tool. " * 12
BODY = {
    "model": "scripted-teacher",
    "messages": [
        {"role": role, "content": PROMPT} for role in ("user", "assistant", "user", "user")
    ],
    "temperature": 1.0,
    "max_tokens": 360,
    "stop": ["Observation:"],
}  # 3.5 kB
Call = Callable[[], Awaitable[object]]


async def bare_aiohttp(url: str, seconds: float) -> int:
    """Post and parse, nothing else."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def call() -> object:
            async with session.post(f"{url}/chat/completions", json=BODY) as response:
                return json.loads(await response.read())["choices"][0]["message"]["content"]

        return await _repeat(call, seconds)


async def openai_sdk(url: str, seconds: float) -> int:
    """The SDK as it comes."""
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        return await _repeat(lambda: client.chat.completions.create(**BODY), seconds)


async def openai_sdk_aiohttp(url: str, seconds: float) -> int:
    """The SDK on its aiohttp transport."""
    async with openai.AsyncOpenAI(
        base_url=url, api_key="none", max_retries=0, http_client=openai.DefaultAioHttpClient()
    ) as client:
        return await _repeat(lambda: client.chat.completions.create(**BODY), seconds)


async def _repeat(call: Call, seconds: float) -> int:
    """Keep so many calls in flight for so long; return how many were answered."""
    await asyncio.gather(*(call() for _ in range(10)))  # connections and caches are there
    count = 0
    until = time.monotonic() + seconds

    async def work() -> None:
        nonlocal count
        while time.monotonic() < until:
            await call()
            count += 1

    before = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    print(json.dumps({"calls": count, "cpu_seconds": cpu}))
    return count


CALLERS = {
    "bare-aiohttp": bare_aiohttp,
    "openai-sdk": openai_sdk,
    "openai-sdk-aiohttp": openai_sdk_aiohttp,
}

if __name__ == "__main__":
    asyncio.run(CALLERS[sys.argv[1]](sys.argv[2], float(sys.argv[3])))

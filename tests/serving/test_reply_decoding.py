"""The thread that decodes: in order, ended when nobody waits, and nothing kept of what failed."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from contextlib import aclosing

import pytest
import torch
from transformers import GenerationConfig

from ste_ray.serving.decoding import Asked, Decoder, FailedReplyError

ASKED = Asked([1, 2], GenerationConfig(max_new_tokens=3))


class Model:
    """Stands in for a model: ``say`` yields its tokens, one each time it is asked."""

    device = torch.device("cpu")

    def __init__(self, say):
        self._say = say

    def generate(self, prompt, *, streamer, stopping_criteria, **_):
        streamer.put(prompt)
        for token in self._say():
            streamer.put(torch.tensor([token]))
            if bool(stopping_criteria(prompt, None).all()):
                return
        streamer.end()


def decode(say, use):
    decoder = Decoder(Model(say))
    try:
        return asyncio.run(use(decoder))
    finally:
        decoder.close()


async def all_of(decoder, asked=ASKED):
    async with aclosing(decoder.tokens(asked)) as tokens:
        return [token async for token in tokens]


def test_tokens_come_without_the_prompt():
    assert decode(lambda: iter([5, 6]), all_of) == [5, 6]


@pytest.mark.parametrize(
    ("kind", "told", "lacks"),
    [
        (RuntimeError, "CUDA error\nat x", False),
        (torch.OutOfMemoryError, "CUDA out of memory", True),
        (MemoryError, "", True),
        (KeyError, "key", False),
        (BaseException, "from native code", False),
    ],
)
def test_what_a_failed_reply_held_is_freed_at_once(kind, told, lacks):
    held = []

    def say():
        keys = torch.zeros(8)
        held.append(weakref.ref(keys))
        yield 5
        raise kind(told)

    async def use(decoder):
        for _ in range(2):  # the thread lives on
            with pytest.raises(FailedReplyError) as failed:
                await all_of(decoder)
        assert decoder.num_waiting == 0
        return failed.value

    gc.collect()
    gc.disable()
    try:
        failed = decode(say, use)
        assert [one() for one in held] == [None, None]
    finally:
        gc.enable()
    assert failed.lacks_memory == lacks
    assert str(failed)
    assert "\n" not in str(failed)


def test_replies_are_decoded_one_after_the_other_and_left_when_nobody_waits():
    begun, go_on, num_said = threading.Event(), threading.Event(), []

    def say():
        num_said.append(0)
        number = len(num_said) - 1
        while True:
            num_said[number] += 1
            yield 7
            begun.set()
            assert go_on.wait(20)

    async def first(decoder):
        async with aclosing(decoder.tokens(ASKED)) as tokens:
            async for _ in tokens:
                return

    async def use(decoder):
        left = asyncio.create_task(all_of(decoder))
        assert await asyncio.to_thread(begun.wait, 20)
        waits = asyncio.create_task(all_of(decoder))
        last = asyncio.create_task(first(decoder))
        await asyncio.sleep(0)
        assert decoder.num_waiting == 3
        for task in (left, waits):
            task.cancel()
        await asyncio.gather(left, waits, return_exceptions=True)
        assert decoder.num_waiting == 1
        go_on.set()
        await asyncio.wait_for(last, 20)
        assert decoder.num_waiting == 0

    decode(say, use)
    assert len(num_said) == 2  # the second had gone before its turn
    assert num_said[0] <= 2


def test_closing_ends_what_is_being_decoded():
    def say():
        while True:
            yield 7

    async def use(decoder):
        async with aclosing(decoder.tokens(ASKED)) as tokens:
            async for _ in tokens:
                await asyncio.wait_for(asyncio.to_thread(decoder.close), 20)
                break

    decode(say, use)


def test_closing_does_not_wait_out_a_long_prompt():
    begun, go_on = threading.Event(), threading.Event()

    def say():
        begun.set()
        assert go_on.wait(60)
        yield 7

    async def use(decoder):
        waits = asyncio.create_task(all_of(decoder))
        assert await asyncio.to_thread(begun.wait, 20)
        waits.cancel()
        await asyncio.wait([waits])

    start = time.monotonic()
    decode(say, use)
    took = time.monotonic() - start
    go_on.set()
    assert took < 20

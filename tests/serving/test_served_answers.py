"""Why a reply ended, as its client is told."""

from __future__ import annotations

import pytest

from tests.served_model import GREETING, REPLY, STORY
from tests.serving.in_process import asked, reply


@pytest.mark.parametrize(
    ("said", "fields", "content", "finish"),
    [
        (GREETING, {}, REPLY, "stop"),
        (GREETING, {"max_tokens": 1}, None, "length"),
        # The text that ends it is in the last token that it may have.
        (GREETING, {"max_tokens": 1, "stop": "H"}, "", "stop"),
        (GREETING, {"stop": ["to", "never"]}, "Hello", "stop"),
        (STORY, {"max_tokens": 7}, None, "length"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_says_why_it_ended(native_model, said, fields, content, finish, stream):
    async def ask(client):
        if not stream:
            choice = await reply(client, said, **fields)
            return choice.message.content or "", choice.finish_reason
        messages = [{"role": "user", "content": said}]
        chunks = await client.chat.completions.create(
            model="mine", messages=messages, stream=True, **fields
        )
        choices = [one.choices[0] async for one in chunks]
        text = "".join(one.delta.content or "" for one in choices)
        return text.strip(), choices[-1].finish_reason

    text, ended = asked(native_model, ask)
    assert ended == finish
    assert content is None or text == content

"""Why a reply ended, as its client is told."""

from __future__ import annotations

import json

import pytest

from tests.served_model import GREETING, REPLY, STORY
from tests.serving.in_process import asked, posting, reply


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


def test_the_log_says_how_each_reply_ended(native_model, monkeypatch):
    """Of one that failed it does not say that it was whole."""
    lines = []
    body = json.dumps({"model": "mine", "messages": [{"role": "user", "content": GREETING}]})
    with posting(native_model, lines.append) as post:
        assert post(body)[0] == 200
        assert post(json.dumps({**json.loads(body), "max_tokens": 1}))[0] == 200

        def failing(*_, **__):
            raise RuntimeError("no")

        monkeypatch.setattr(native_model.model, "generate", failing)
        assert post(body)[0] == 500
        post(json.dumps({**json.loads(body), "stream": True}))
    ends = [one.split(" answered (")[1].split(")")[0] for one in lines if " answered (" in one]
    assert ends == ["stop", "length", "not finished", "not finished"]

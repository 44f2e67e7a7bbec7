"""What a request may use is estimated from what earlier ones did."""

from __future__ import annotations

import pytest

from ste_ray.core.effects import ModelReply
from ste_ray.llm.claims import Claims, num_characters
from ste_ray.llm.endpoint import RoleEndpoint

BODY = {"messages": [{"role": "user", "content": "x" * 1000}], "max_tokens": 50}


def claims() -> Claims:
    return Claims(RoleEndpoint(base_url="http://host/v1", model="m"))


def counted(tokens: int) -> ModelReply:
    return ModelReply(text="y", prompt_tokens=tokens)


def test_the_first_reply_tells_how_many_tokens_a_character_has():
    made = claims()
    assert made.claim(BODY, "tool").prompt_tokens == pytest.approx(250, abs=1)
    made.learn(1000, counted(400))
    claim = made.claim(BODY, "tool")
    assert (claim.prompt_tokens, claim.max_tokens) == (pytest.approx(400, abs=1), 50)
    assert claim.account == "tool"


def test_claims_that_waited_for_long_do_not_drive_the_estimate_away():
    made = claims()
    for _ in range(2000):  # all made before anything was learnt, as with a long queue
        made.learn(num_characters(BODY), counted(400))
    assert made.claim(BODY, "").prompt_tokens == pytest.approx(400, abs=1)


def test_the_estimate_follows_slowly_and_ignores_replies_without_usage():
    made = claims()
    made.learn(1000, counted(400))
    made.learn(1000, counted(200))
    assert 380 < made.claim(BODY, "").prompt_tokens < 400
    for _ in range(200):
        made.learn(1000, counted(200))
        made.learn(1000, counted(0))
    assert made.claim(BODY, "").prompt_tokens == pytest.approx(200, abs=2)

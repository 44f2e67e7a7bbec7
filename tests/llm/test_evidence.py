"""Whether a refusal ends one request or the run: what else is served, and the minimal request."""

from __future__ import annotations

import asyncio
import json

import pytest
from chat_server import body_of, refusal, reply, reset, serving, text_of

from ste_ray.core.effects import AskModel, ModelReply, Sampling
from ste_ray.core.limits.grants import Grant
from ste_ray.core.records import Message
from ste_ray.errors import BudgetExhaustedError, EndpointError, EndpointRefusalError
from ste_ray.llm import evidence, retries
from ste_ray.llm.client import OpenAIChat
from ste_ray.llm.config import LLMConfig
from ste_ray.llm.endpoint import RoleEndpoint
from ste_ray.llm.sdk import SdkChat

KEY = "sk-very-secret-0123456789"
ODD = refusal(400, "we would rather not")  # no server is known to say so


@pytest.fixture(autouse=True)
def _quick_and_with_a_key(monkeypatch):
    monkeypatch.setattr(retries, "_BACKOFF_BASE_SECONDS", 0.005)
    monkeypatch.setenv("STE_TEST_KEY", KEY)
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def question(text="hi", **sampling):
    message = Message(role="user", content=text)
    return AskModel(role="explorer", messages=(message,), sampling=Sampling(**sampling))


def refusing(step, when=lambda body: "bad" in body["messages"][0]["content"]):
    """Refuse the requests for which ``when`` holds, and answer all others."""

    async def answer(request):
        return await (step if when(await request.json()) else reply())(request)

    return answer


def contents(server):
    return [body["messages"][0]["content"] for _, _, body in server.requests]


def run(script, ask, chat_class=OpenAIChat, limiter=None, **fields):
    """Run ``ask(chat)`` against a server; return its result or what was raised, and the server."""

    async def main():
        async with serving(*script) as server:
            endpoint = RoleEndpoint(
                base_url=server.base_url, api_key_env="STE_TEST_KEY", model="m", **fields
            )
            async with chat_class(endpoint, LLMConfig(max_attempts=3), limiter=limiter) as chat:
                try:
                    return await ask(chat), server
                except (EndpointError, BudgetExhaustedError) as error:
                    return error, server

    return asyncio.run(main())


async def in_turn(chat, *texts):
    return [await chat.ask(question(text)) for text in texts]


@pytest.mark.parametrize("chat_class", [OpenAIChat, SdkChat])
def test_a_request_that_alone_is_refused_is_data_after_one_minimal_request(chat_class):
    replies, server = run(
        [refusing(ODD)], lambda chat: in_turn(chat, "bad", "bad too", "bad still"), chat_class
    )
    assert [(one.text, one.finish_reason) for one in replies] == [("", "refused")] * 3
    assert [fault.kind for fault in replies[0].faults] == ["refused"]
    assert replies[0].faults[0].detail == "400 we would rather not"
    assert contents(server) == ["bad", "Say OK.", "bad too", "bad still"]


def test_where_others_were_served_no_minimal_request_is_needed():
    replies, server = run([refusing(ODD)], lambda chat: in_turn(chat, "fine", "bad", "fine"))
    assert [one.finish_reason for one in replies] == ["stop", "refused", "stop"]
    assert contents(server) == ["fine", "bad", "fine"]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (refusal(422, "the supplied material spans 90 positions, 80 fit"), "context_overflow"),
        (refusal(403, "blocked for its topic"), "content_filter"),
        (text_of("<html>no</html>", 403), "refused"),
        (body_of({"detail": "no"}, 451), "content_filter"),
    ],
)
def test_words_name_the_cause_of_what_is_one_requests_own(step, reason):
    replies, _ = run([refusing(step)], lambda chat: in_turn(chat, "fine", "bad"))
    assert replies[1].finish_reason == reason
    assert replies[1].faults[0].kind == reason


def test_many_that_are_refused_at_once_share_the_minimal_request():
    async def ask(chat):
        asked = (chat.ask(question(f"bad {number}")) for number in range(12))
        return await asyncio.gather(*asked, return_exceptions=True)

    replies, server = run([refusing(ODD)], ask)
    assert [one.finish_reason for one in replies] == ["refused"] * 12
    assert contents(server).count("Say OK.") == 1


def test_what_every_request_would_meet_ends_all_after_one_minimal_request():
    async def ask(chat):
        asked = (chat.ask(question(f"bad {number}")) for number in range(12))
        return await asyncio.gather(*asked, return_exceptions=True)

    errors, server = run([ODD], ask)
    assert all(isinstance(one, EndpointRefusalError) for one in errors)
    assert "refuses the request (400): 'we would rather not'" in str(errors[0])
    assert len({str(one) for one in errors}) == 1
    assert contents(server).count("Say OK.") == 1


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (refusal(400, "Unsupported parameter: 'max_tokens'"), "'max_tokens' with the value 360"),
        (refusal(400, "no such thing as min_p"), "'min_p' with the value 0.1"),
        (body_of({"detail": [{"loc": ["body", "temperature"], "msg": "x"}]}, 422), "'temperature'"),
    ],
)
def test_a_sampling_field_that_is_refused_is_named_with_the_remedy(step, expected):
    error, _ = run([step], lambda chat: in_turn(chat, "hi"), sampling={"min_p": 0.1})
    assert isinstance(error, EndpointRefusalError)
    assert f"the field {expected}" in str(error)
    assert "llm.sampling={" in str(error)


def test_the_minimal_request_has_the_sampling_of_the_refused_one():
    def too_many(body):
        return body["max_tokens"] > 1000

    async def ask(chat):
        await in_turn(chat, "fine", "fine too")
        return await chat.ask(question("hi", max_tokens=5000, temperature=0.5, stop=("x",)))

    error, server = run([refusing(refusal(400, "max_tokens is too high"), too_many)], ask)
    assert isinstance(error, EndpointRefusalError)
    refused, small = (body for _, _, body in server.requests[-2:])
    assert json.dumps(small | {"messages": []}) == json.dumps(refused | {"messages": []})


def test_a_minimal_request_that_fails_for_now_decides_nothing():
    script = [ODD, refusal(503), ODD, reset, ODD, reply(), reply()]
    replies, server = run(script, lambda chat: in_turn(chat, "bad"))
    assert replies[0].finish_reason == "refused"
    assert [fault.kind for fault in replies[0].faults] == ["server_error", "connection", "refused"]
    assert contents(server) == ["bad", "Say OK."] * 3


def test_a_key_withdrawn_midway_ends_the_run(monkeypatch):
    monkeypatch.setattr(evidence, "_PROOF_SECONDS", 0.0)
    script = [reply(), refusal(403, "who are you?")]
    error, server = run(script, lambda chat: in_turn(chat, "fine", "fine", "fine"))
    assert isinstance(error, EndpointError)
    assert "STE_TEST_KEY is set but refused" in str(error)
    assert "who are you?" in str(error)
    assert contents(server) == ["fine", "fine", "Say OK."]


def test_a_proof_covers_only_so_many_refusals(monkeypatch):
    monkeypatch.setattr(evidence, "_PROOF_REFUSALS", 3)
    script = [reply(), ODD]
    error, server = run(script, lambda chat: in_turn(chat, *["fine"] * 9))
    assert isinstance(error, EndpointRefusalError)
    assert contents(server) == ["fine"] * 5 + ["Say OK."]


def test_a_cause_that_is_named_needs_no_proof_until_nothing_is_ever_served():
    step = refusal(400, "This model's maximum context length is 9 tokens")

    async def ask(chat):
        found = [await chat.ask(question()) for _ in range(7)]
        assert [one.finish_reason for one in found] == ["context_overflow"] * 7
        return await chat.ask(question())

    error, server = run([step], ask)
    assert isinstance(error, EndpointRefusalError)
    assert contents(server) == ["hi"] * 8 + ["Say OK."]

    # Where the minimal request is served, such a cause is believed from then on.
    replies, server = run([refusing(step)], lambda chat: in_turn(chat, *["bad"] * 40))
    assert {one.finish_reason for one in replies} == {"context_overflow"}
    assert contents(server).count("Say OK.") == 1


def test_an_unknown_model_ends_the_run_also_where_others_were_served():
    script = [reply(), refusal(404, "the model 'm' does not exist")]
    error, server = run(script, lambda chat: in_turn(chat, "fine", "fine"))
    assert isinstance(error, EndpointError)
    assert "it was asked for 'm'" in str(error)
    assert len(server.requests) == 2


class OneGrant:
    """A limiter whose budget allows one request."""

    def __init__(self, allowed):
        self.allowed = allowed
        self.claims = []
        self.settled = []

    async def acquire(self, claim):
        if len(self.claims) == self.allowed:
            raise BudgetExhaustedError("the budget is used up")
        self.claims.append(claim)
        return Grant(claim, 0.0, len(self.claims))

    def settle(self, grant, used):
        self.settled.append((grant.number, used))


def test_the_minimal_request_is_charged_like_any_other():
    limiter = OneGrant(allowed=2)
    replies, _ = run([refusing(ODD)], lambda chat: in_turn(chat, "bad"), limiter=limiter)
    assert isinstance(replies[0], ModelReply)
    (_, refused), (_, small) = limiter.settled
    assert (refused.prompt_tokens, small.prompt_tokens, small.completion_tokens) == (0, 11, 3)

    limiter = OneGrant(allowed=1)
    error, server = run([refusing(ODD)], lambda chat: in_turn(chat, "bad"), limiter=limiter)
    assert isinstance(error, BudgetExhaustedError)
    assert contents(server) == ["bad"]
    assert len(limiter.settled) == 1


def test_the_key_stands_in_no_detail():
    step = refusal(400, f"not with {KEY}")
    replies, _ = run([refusing(step)], lambda chat: in_turn(chat, "bad"))
    assert replies[0].faults[0].detail == "400 not with ***"
    error, _ = run([step], lambda chat: in_turn(chat, "bad"))
    assert isinstance(error, EndpointError)
    assert KEY not in str(error)

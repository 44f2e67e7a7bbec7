"""Forced calls: grammars are made once, few are kept, and refusals speak to a client."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from ste_ray.chat_tokens.native.chat import NativeChat
from ste_ray.generation.constraints import Constraints
from ste_ray.generation.model import load_model
from ste_ray.serving.requests import RequestError
from ste_ray.stages.serve.binding import CallBinder
from tests.native_templates import NESTED
from tests.served_model import save_served_model, tool

pytest.importorskip("llguidance")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(save_served_model(tmp_path_factory.mktemp("native")))


@pytest.fixture
def bind(model):
    return CallBinder(model, NativeChat(model.tokenizer), {})


@pytest.fixture
def made(monkeypatch):
    """What was made: tokenizers of the library, and grammars by the names of their tools."""
    found = {"tokenizers": 0, "grammars": []}
    init, compiled = Constraints.__init__, Constraints.compiled_native

    def counted_init(self, *arguments):
        found["tokenizers"] += 1
        init(self, *arguments)

    def counted(self, tools, *arguments):
        found["grammars"].append(sorted(tools))
        return compiled(self, tools, *arguments)

    monkeypatch.setattr(Constraints, "__init__", counted_init)
    monkeypatch.setattr(Constraints, "compiled_native", counted)
    return found


def test_a_grammar_is_made_once_whatever_the_length_of_prompt_and_reply(bind, made):
    for number in range(5):
        assert bind([tool()], ["get_weather"], 10 + number, 100 + number)
    assert made == {"tokenizers": 1, "grammars": [["get_weather"]]}


def test_a_tool_of_the_same_name_with_another_schema_has_its_own(bind, made):
    first, second = (
        bind([tool(city={"enum": [city]})], ["get_weather"], 1, 200) for city in ("Oslo", "Rome")
    )
    assert len(made["grammars"]) == 2
    assert first is not second


def test_no_more_grammars_are_kept_than_a_few(bind, made):
    for number in range(40):
        bind([tool(f"t{number}")], [f"t{number}"], 1, 200)
    bind([tool("t39")], ["t39"], 1, 200)
    assert len(made["grammars"]) == 40
    bind([tool("t0")], ["t0"], 1, 200)
    assert (len(made["grammars"]), made["tokenizers"]) == (41, 1)


def told(bind, *tools, limit=200):
    names = [one["function"]["name"] for one in tools]
    with pytest.raises(RequestError) as found:
        bind(tools, names, 1, limit)
    assert (found.value.status, found.value.param) == (400, "tool_choice")
    assert "infer" not in found.value.message.replace("ste-ray[infer]", "")
    assert "set it to" not in found.value.message
    assert "\n" not in found.value.message
    return found.value.message


def test_too_few_tokens_are_told_with_their_number(bind):
    message = told(bind, tool(), limit=5)
    assert "and the reply may have 5; raise max_tokens" in message


def test_a_model_without_a_form_of_calls(model):
    assert "knows no tools; leave tool_choice out" in told(CallBinder(model, None, {}), tool())


def test_a_form_that_no_grammar_can_say(model):
    tokenizer = model.tokenizer
    before, tokenizer.chat_template = tokenizer.chat_template, NESTED
    try:
        bind = CallBinder(model, NativeChat(tokenizer), {})
        assert "cannot bind native calls" in told(bind, tool())
    finally:
        tokenizer.chat_template = before


def test_a_library_that_is_not_there(bind, monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)
    assert "llguidance is not installed" in told(bind, tool())


def test_a_tokenizer_that_the_library_cannot_use(model):
    slow = dataclasses.replace(model, tokenizer=object())
    bind = CallBinder(slow, None, {"get_weather": "<tool_get_weather>"})
    assert "cannot use this tokenizer" in told(bind, tool())


def test_parameters_that_are_no_schema_are_told(bind, monkeypatch):
    def broken(*_):
        raise KeyError("x")

    monkeypatch.setattr(Constraints, "compiled_native", broken)
    assert "the parameters of 'get_weather' are no JSON Schema" in told(bind, tool())

"""The tool parser within vLLM's own code, as its servers put it to use; without a model."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from ste_ray.chat_tokens.native.own_template import template_with_tools
from ste_ray.chat_tokens.native.template_tools import tools_of
from ste_ray.core.native_calls.form import WrittenCall
from ste_ray.core.native_calls.writing import write_calls
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.core.toolkens import toolken
from tests.byte_models import byte_tokenizer
from tests.native_templates import NO_TOOLS
from tests.training.test_vllm_tool_parser import NAMES, REPLY_EXAMPLES, split_replies
from tests.training.test_vllm_tool_parser import whole as read_whole
from tests.vllm_modules import vllm_modules
from tests.vllm_parser import (
    PLUGIN,
    ROOT,
    Tokenizer,
    assembled,
    some_splits,
)
from tests.vllm_wheel import FOLDER, VERSIONS


@pytest.fixture(scope="module", params=VERSIONS)
def vllm(request: pytest.FixtureRequest) -> Iterator[SimpleNamespace]:
    """vLLM's classes, with the plugin loaded as by ``--tool-parser-plugin``."""
    if not (FOLDER / request.param).is_dir():
        pytest.skip("no modules of vLLM: make third-party")
    with vllm_modules(request.param):
        parsers = importlib.import_module("vllm.tool_parsers")
        protocol = importlib.import_module("vllm.entrypoints.openai.chat_completion.protocol")
        manager = importlib.import_module("vllm.parser.parser_manager").ParserManager
        parsers.ToolParserManager.import_tool_parser(str(PLUGIN))
        assert "toolken" in parsers.ToolParserManager.list_registered()
        parser = manager.get_parser(tool_parser_name="toolken", enable_auto_tools=True)
        yield SimpleNamespace(
            version=request.param,
            parser=lambda tools: parser(Tokenizer(NAMES), tools),
            parsers=parsers.ToolParserManager,
            ask=protocol.ChatCompletionRequest.model_validate,
        )


def chat(vllm: SimpleNamespace, choice: Any = "auto", names: Any = NAMES) -> Any:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    tools = [
        {"type": "function", "function": {"name": name, "parameters": schema}} for name in names
    ]
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": tools}
    return vllm.ask(body | {"tool_choice": choice})


def whole(vllm: SimpleNamespace, text: str, request: Any) -> tuple[str, list[tuple[str, str]]]:
    parser = vllm.parser(request.tools)
    reasoning, content, calls = parser.parse(text, request, enable_auto_tools=True)
    assert reasoning is None
    return content or "", [(call.name, call.arguments) for call in calls or ()]


def streamed(
    vllm: SimpleNamespace, pieces: list[str], request: Any
) -> tuple[str, list[tuple[str, str]]]:
    parser = vllm.parser(request.tools)
    deltas = [parser.parse_delta(piece, [7], request, [1, 2], finished=False) for piece in pieces]
    # The end of a reply is a token without text.
    deltas.append(parser.parse_delta("", [9], request, [1, 2], finished=True))
    return assembled(deltas)


def test_replies_are_read_alike_whole_and_in_pieces(vllm: SimpleNamespace) -> None:
    request = chat(vllm)
    for text in REPLY_EXAMPLES:
        expected = read_whole(text)
        assert whole(vllm, text, request) == expected
        for pieces in some_splits(text, most=20):
            content, calls = streamed(vllm, pieces, request)
            if expected[1] or not calls:
                assert (content, calls) == expected, pieces


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=split_replies())
def test_vllm_changes_nothing_of_what_is_read(
    vllm: SimpleNamespace, case: tuple[str, list[str]]
) -> None:
    text, pieces = case
    request = chat(vllm)
    expected = read_whole(text)
    found = whole(vllm, text, request)
    assert found == expected
    sent = streamed(vllm, pieces, request)
    if expected[1] or not sent[1]:
        assert sent == expected


def test_the_last_piece_may_be_the_end(vllm: SimpleNamespace) -> None:
    request = chat(vllm)
    parser = vllm.parser(request.tools)
    text = 'Action: <tool_x>\nAction Input: {"a": 1}'
    delta = parser.parse_delta(text, [7, 9], request, [1], finished=True)
    assert assembled([delta]) == ("", [("x", '{"a": 1}')])


def test_requests_without_tools_get_the_answer_alone(vllm: SimpleNamespace) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    request = vllm.ask(body)
    for text in ("Final Answer: 42", "42"):
        assert whole(vllm, text, request) == ("42", [])
        assert streamed(vllm, list(text), request) == ("42", [])
    call = "Action: <tool_x>\nAction Input: {}"
    for choice in (request, chat(vllm, "none")):
        assert whole(vllm, call, choice) == (call, [])
        assert streamed(vllm, list(call), choice) == (call, [])


@pytest.mark.parametrize("choice", ["required", "x", "get weather"])
def test_a_forced_call_is_bound_to_the_trained_form(vllm: SimpleNamespace, choice: str) -> None:
    named = {"type": "function", "function": {"name": safe_name(choice)}}
    names = [safe_name(name) for name in NAMES]
    request = chat(vllm, "required" if choice == "required" else named, names)
    request.response_format = None
    adjusted = vllm.parser(request.tools).adjust_request(request)
    tag = json.loads(adjusted.structured_outputs.structural_tag)
    assert tag["type"] == "structural_tag"
    forms = tag["format"].get("elements") if choice == "required" else [tag["format"]]
    begins = [form["elements"][0]["value"] for form in forms]
    wanted = NAMES if choice == "required" else (choice,)
    assert begins == [f"Action: {toolken(name)}\nAction Input: " for name in wanted]
    assert all(form["elements"][1]["json_schema"]["required"] == ["a"] for form in forms)
    name = wanted[-1]
    text = f'Action: {toolken(name)}\nAction Input: {{"a": 1}}'
    expected = ("", [(safe_name(name), '{"a": 1}')])
    assert whole(vllm, text, adjusted) == expected
    assert streamed(vllm, list(text), adjusted) == expected


def test_a_free_request_is_not_bound(vllm: SimpleNamespace) -> None:
    for choice in ("auto", "none"):
        request = chat(vllm, choice)
        assert vllm.parser(request.tools).adjust_request(request).structured_outputs is None


def test_vllms_own_parser_reads_the_form_that_a_base_without_tools_gets(
    vllm: SimpleNamespace,
) -> None:
    tokenizer = byte_tokenizer(["the weather in Rome"], 300, NO_TOOLS)
    tokenizer.chat_template = template_with_tools(tokenizer)
    form = tools_of(tokenizer).form
    calls = [("get_weather", {"city": 'Köln "{}"', "n": [1, None]}), ("x", {})]
    text = write_calls(
        [WrittenCall(name=name, arguments_text=json.dumps(given)) for name, given in calls], form
    )
    hermes = vllm.parsers.get_tool_parser("hermes")
    found = hermes(tokenizer, None).extract_tool_calls(f"So:\n{text}", chat(vllm))
    assert (found.content or "").strip() == "So:"
    read = [(one.function.name, json.loads(one.function.arguments)) for one in found.tool_calls]
    assert read == calls


def test_the_parsers_that_the_documents_name_exist(vllm: SimpleNamespace) -> None:
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    table = page.partition("| base | `--tool-call-parser` |")[2].partition("\n\n")[0]
    names = re.findall(r"`(\w+)`", table)
    assert len(names) > 10
    assert set(names) <= set(vllm.parsers.list_registered())

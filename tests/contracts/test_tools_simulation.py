"""Simulated tools: what the model is asked, and what becomes of its reply."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from ste_ray.core.effects import ModelReply
from ste_ray.core.exploring.simulating import ask_simulator, describe_service, read_simulation
from ste_ray.core.prompts import PromptSet, describe_tool
from ste_ray.core.tool_specs import ToolExample, ToolSpec
from ste_ray.errors import BudgetExhaustedError, EndpointError, ProviderUnavailableError
from ste_ray.resources import resource_folder
from ste_ray.runtime.fakes import MemoryStore
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.recording import RecordingExecutor
from ste_ray.tools.run.secrets import Secrets
from ste_ray.tools.run.simulation import SimulatedExecutor, simulated_specs

PROMPTS = PromptSet(
    {path.stem: path.read_text("utf-8") for path in resource_folder("prompts").glob("*.txt")}
)
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
}


def spec(executor=None, **fields):
    values = {
        "name": "Weather%%forecast",
        "description": "Tells the weather.",
        "parameters": PARAMETERS,
        "executor": {"kind": "simulated", "of": executor or {}},
        "effect": "read_only",
    }
    return ToolSpec(**(values | fields))


class Model:
    """Gives replies in advance, and shows what it was asked."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.asked = []

    async def __call__(self, request):
        self.asked.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, ModelReply) else ModelReply(text=reply)


def simulate(*replies, arguments=None, tool=None):
    """Make one call; return its result and what the model was asked."""
    model = Model(*replies)

    async def main():
        executor = SimulatedExecutor(model, PROMPTS)
        return await executor.call(CheckedCall(tool or spec(), arguments or {"city": "Rom"}))

    return asyncio.run(main()), model.asked


def read(text, finish_reason="stop"):
    return read_simulation(ModelReply(text=text, finish_reason=finish_reason))


def test_the_model_is_asked_once_with_all_that_is_documented():
    tool = spec(
        {"kind": "http", "method": "GET", "url": "https://api.example.org/{city}?key=${KEY}"},
        output_schema={"type": "object", "properties": {"degrees": {"type": "number"}}},
    )
    result, [request] = simulate('{"degrees": 21.5}', tool=tool)
    assert (result.status, result.text, result.source) == ("ok", '{"degrees": 21.5}', "simulated")
    assert result.seconds > 0
    assert request.account == tool.name
    assert request.role == "tool_simulator"
    assert request.sampling.temperature == 0
    (message,) = request.messages
    assert message.role == "user"
    assert describe_tool(tool) in message.content
    assert f"\nReturns: {json.dumps(tool.output_schema)}\n" in message.content
    assert "\nRequest: GET https://api.example.org/{city}\n" in message.content
    assert message.content.endswith(
        '\nArguments of the call:\n{"city":"Rom"}\n\nAnswer of the service:'
    )


def test_the_order_of_arguments_makes_no_other_request():
    one = ask_simulator(spec(), {"city": "Rom", "days": 2}, PROMPTS)
    assert one == ask_simulator(spec(), {"days": 2, "city": "Rom"}, PROMPTS)
    assert one != ask_simulator(spec(), {"days": 3, "city": "Rom"}, PROMPTS)


def test_values_that_look_like_placeholders_are_shown_as_they_are():
    tool = spec(description="Costs $arguments and ${KEY} {x}.")
    request = ask_simulator(tool, {"city": "$tool"}, PROMPTS)
    assert "Costs $arguments and ${KEY} {x}." in request.messages[0].content
    assert '{"city":"$tool"}' in request.messages[0].content


@pytest.mark.parametrize(
    ("executor", "line"),
    [
        ({"kind": "http", "method": "POST", "url": "https://a.org/x"}, "POST https://a.org/x"),
        ({"kind": "http", "url": "https://user:pass@a.org/x?token=abcd"}, "GET https://a.org/x"),
        (
            {"kind": "rapidapi", "host": "a.p.rapidapi.com", "path": "/v1/{id}", "method": "PUT"},
            "PUT https://a.p.rapidapi.com/v1/{id}",
        ),
        (
            {"kind": "toolbench", "category": "Weather", "tool_name": "a", "api_name": "b"},
            "Weather / a / b",
        ),
        ({"kind": "python", "target": "module:function"}, None),
        ({"kind": "mcp", "tool": "t", "server": {"env": {"TOKEN": "s3cret"}}}, None),
        ({"kind": "bmtools", "function": "f"}, None),
        ({}, None),
    ],
)
def test_the_request_to_the_service_is_named_without_what_is_private(executor, line):
    tool = spec(executor)
    expected = describe_tool(tool) + (f"\nRequest: {line}" if line else "")
    assert describe_service(tool) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"error": "unknown city"}',
        ' \n{"error": "unknown city"}\n',
        '{"error": {"code": 404}}',
        '{"error": ["a"], "status": 400}',
        '{"error": true}',
        '```json\n{"error": "unknown city"}\n```',
    ],
)
def test_errors_by_the_convention(text):
    result = read(text)
    assert (result.status, result.source) == ("error", "simulated")
    assert json.loads(result.text)["error"]


@pytest.mark.parametrize(
    "text",
    [
        '{"error": null, "degrees": 3}',
        '{"error": "", "response": "x"}',
        '{"error": false}',
        '{"error": 0.05, "mean": 3.1}',
        '{"errors": "none"}',
        '[{"error": "x"}]',
        '"error"',
        "There was an error once.",
        '{"error": "not closed',
        "12",
        "null",
        "{" * 50_000,
    ],
)
def test_everything_else_is_a_result_word_for_word(text):
    result = read(f"  {text}\n")
    assert (result.status, result.text, result.source) == ("ok", text, "simulated")


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ("```\na\nb\n```\n", "a\nb"),
        ("See:\n```\na\n```", "See:\n```\na\n```"),
        ("```a```", "```a```"),
        ("Not <think>a</think> b", "Not <think>a</think> b"),
    ],
)
def test_only_what_wraps_the_whole_answer_is_taken_off(text, bare):
    assert read(text).text == bare


@pytest.mark.parametrize("text", ["", " \n", "```\n```"])
def test_an_empty_reply_is_no_answer(text):
    result = read(text)
    assert (result.status, result.source) == ("crashed", "simulated")
    assert "could not be simulated: the model's reply is empty" in result.text


@pytest.mark.parametrize("text", ["", '{"a": 1}'])
@pytest.mark.parametrize("reason", ["failed", "content_filter", "context_overflow"])
def test_a_reply_that_did_not_come_is_no_answer(reason, text):
    result = read(text, reason)
    assert (result.status, result.source) == ("crashed", "simulated")
    assert "could not be simulated" in result.text
    assert '{"a"' not in result.text


def test_a_reply_that_was_cut_says_so():
    assert (
        read('{"rows": [1, 2', "length").text
        == '{"rows": [1, 2… [cut: 14 characters of a longer reply]'
    )
    assert read('{"rows": [1, 2', "length").status == "ok"
    assert read('{"error": "very lo', "length").status == "error"


def test_long_answers_are_cut_as_the_tool_says():
    result, _ = simulate("x" * 100, tool=spec(max_output_chars=10))
    assert result.text == "x" * 10 + "… [cut: 10 of 100 characters]"


def test_a_slow_model_is_waited_for():
    # The time limit is one for services; a model may wait for its rate limit first.
    async def main():
        answered = asyncio.Event()

        async def ask(request):
            asyncio.get_running_loop().call_later(0.05, answered.set)
            await answered.wait()
            return ModelReply(text="late")

        tool = spec(timeout_seconds=0.001)
        return await SimulatedExecutor(ask, PROMPTS).call(CheckedCall(tool, {}))

    assert asyncio.run(main()).text == "late"


@pytest.mark.parametrize(
    "error", [BudgetExhaustedError("b"), ProviderUnavailableError("p"), EndpointError("e")]
)
def test_what_ends_the_run_is_no_result_of_the_tool(error):
    with pytest.raises(type(error)):
        simulate(error)


def test_equal_calls_get_equal_answers_in_a_run():
    async def main():
        model = Model("first", "second", ModelReply(text="", finish_reason="failed"), "third")
        executor = RecordingExecutor(
            SimulatedExecutor(model, PROMPTS), MemoryStore(), "reuse", lambda: datetime.now(UTC)
        )

        async def ask(arguments):
            return await executor.call(CheckedCall(spec(), arguments))

        one = await ask({"city": "Rom", "days": 1})
        assert [one.text, one.source] == ["first", "simulated"]
        assert await ask({"days": 1, "city": "Rom"}) == one
        assert (await ask({"city": "Rom"})).text == "second"
        assert (await ask({})).status == "crashed"
        assert (await ask({})).text == "third"
        assert len(model.asked) == 4

    asyncio.run(main())


def test_preview_verify_and_the_ends_ask_nothing():
    async def main():
        model = Model()
        executor = SimulatedExecutor(model, PROMPTS)
        await executor.verify([spec()])
        text = executor.preview(CheckedCall(spec(), {"city": "R" * 5000}))
        await executor.end_episode("e")
        await executor.aclose()
        assert model.asked == []
        return text

    text = asyncio.run(main())
    assert text.startswith("ask a language model to answer as 'Weather%%forecast' would")
    assert "\n" not in text
    assert len(text) < 400


REAL = {
    "python": {"kind": "python", "target": "module:function"},
    "keyed": {"kind": "http", "url": "https://a.org", "headers": {"X-Key": "${A_KEY}"}},
    "open": {"kind": "http", "url": "https://a.org"},
    "rapid": {"kind": "rapidapi", "host": "a.org", "path": "/", "key": "${RAPIDAPI_KEY}"},
    "study": {"kind": "bmtools", "function": "f"},
    "played": {"kind": "simulated", "of": {"kind": "bmtools", "function": "g"}},
}
SPECS = {
    name: ToolSpec(
        name=name,
        description="Tells the weather.",
        parameters=PARAMETERS,
        output_schema={"type": "object"},
        executor=executor,
        effect="writes",
        requests_per_minute=5,
        concurrency=1,
        lenient=True,
        examples=(ToolExample(arguments={"city": "Rom"}),),
        secrets=("OTHER_KEY",) if name == "python" else (),
    )
    for name, executor in REAL.items()
}


@pytest.mark.parametrize(
    ("mode", "environment", "simulated"),
    [
        ("never", {}, []),
        ("when_missing", {}, ["python", "keyed", "rapid", "study"]),
        ("when_missing", {"A_KEY": "value", "OTHER_KEY": "value"}, ["rapid", "study"]),
        (
            "when_missing",
            {"A_KEY": "value", "OTHER_KEY": "value", "RAPIDAPI_KEY": "value"},
            ["study"],
        ),
        ("always", {"A_KEY": "value"}, ["python", "keyed", "open", "rapid", "study"]),
    ],
)
def test_which_tools_are_simulated(mode, environment, simulated):
    prints = {name: item.fingerprint for name, item in SPECS.items()}
    found = simulated_specs(SPECS, mode, Secrets(environment))
    assert list(found) == list(SPECS)
    assert [name for name in found if found[name] != SPECS[name]] == simulated
    for name in simulated:
        tool = found[name]
        assert tool.executor.as_written() == {"kind": "simulated", "of": REAL[name]}
        assert (tool.effect, tool.secrets) == ("read_only", ())
        assert (tool.requests_per_minute, tool.concurrency) == (None, None)
        kept = {"name", "description", "parameters", "output_schema", "lenient", "examples"}
        assert tool.model_dump(include=kept) == SPECS[name].model_dump(include=kept)
        # Recorded answers of the real tool must never be taken for simulated ones.
        assert tool.fingerprint != prints[name]
    assert {name: item.fingerprint for name, item in SPECS.items()} == prints

"""The teacher as a tool: plausible answers that fit what is documented, from nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from teacher_runs import PROMPTS, ask, explore, measure
from teacher_server import Client, with_teacher

from ste_ray.core.effects import ToolResult
from ste_ray.core.exploring.simulating import ask_simulator, read_simulation
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.simulated_provider.settings import TeacherSettings
from ste_ray.simulated_provider.teacher.conversation import task_of
from ste_ray.simulated_provider.teacher.script import reply

PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "the city"},
        "date": {"type": "string", "description": "the day, YYYY-MM-DD"},
    },
    "required": ["city"],
}
FORECAST = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "date": {"type": "string", "format": "date"},
        "degrees": {"type": "number", "minimum": -50, "maximum": 60},
        "rain": {"type": "boolean"},
        "wind": {"$ref": "#/$defs/wind"},
        "hours": {
            "type": "array",
            "minItems": 3,
            "items": {"type": "integer", "exclusiveMinimum": 0, "maximum": 24},
        },
        "sky": {"enum": ["clear", "clouded"]},
        "station": {"anyOf": [{"type": "null"}, {"type": "string", "minLength": 3}]},
        "version": {"const": 2},
        "id": {"type": "string", "format": "uuid"},
    },
    "required": ["city", "degrees", "rain", "wind", "hours", "sky", "version", "id"],
    "additionalProperties": False,
    "$defs": {
        "wind": {
            "allOf": [
                {"type": "object", "properties": {"speed": {"type": "number"}}},
                {"properties": {"unit": {"enum": ["km/h"]}}, "required": ["unit", "speed"]},
            ]
        }
    },
}


def spec(output_schema: dict[str, Any] | None = None, **fields: Any) -> ToolSpec:
    values = {
        "name": "weather",
        "description": "Tells the weather of a city.",
        "parameters": PARAMETERS,
        "output_schema": output_schema,
        "executor": {"kind": "simulated", "of": {}},
    }
    return ToolSpec.model_validate(values | fields)


def answer(tool: ToolSpec, arguments: dict[str, Any], seed: int = 0) -> ToolResult:
    return read_simulation(ask(ask_simulator(tool, arguments, PROMPTS), seed))


@pytest.mark.parametrize("seed", range(20))
def test_an_answer_fits_the_documented_schema(seed: int) -> None:
    result = answer(spec(FORECAST), {"city": "Graz"}, seed)
    value = json.loads(result.text)
    Draft202012Validator(FORECAST).validate(value)
    assert result.status == "ok"
    assert value["city"] == "Graz"
    assert value["date"]


def test_an_answer_repeats_arguments_that_fit() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "integer"}, "date": {}}}
    value = json.loads(answer(spec(schema), {"city": "Graz", "date": "2026-03-02"}).text)
    assert isinstance(value["city"], int)
    assert value["date"] == "2026-03-02"


def test_without_a_schema_the_arguments_come_back_with_more() -> None:
    arguments = {"city": "Málaga 🎉", "list": [1, {"a": None}], "updated": "now"}
    result = answer(spec(), arguments)
    value = json.loads(result.text)
    assert result.status == "ok"
    assert {key: value[key] for key in arguments} == arguments
    assert value.keys() > arguments.keys()


def test_equal_calls_get_equal_answers_and_others_differ() -> None:
    texts = {answer(spec(FORECAST), {"city": "Graz"}, seed=1).text for _ in range(3)}
    texts |= {answer(spec(FORECAST), {"city": "Oslo"}, seed=1).text}
    texts |= {answer(spec(FORECAST), {"city": "Graz"}, seed=2).text}
    assert len(texts) == 3


@pytest.mark.parametrize("output_schema", [None, {"type": "object", "properties": {"error": {}}}])
def test_an_argument_named_error_makes_no_error(output_schema: dict[str, Any] | None) -> None:
    tool = spec(output_schema, parameters={"type": "object", "properties": {"error": {}}})
    assert answer(tool, {"error": "x"}).status == "ok"


def test_a_required_error_is_empty() -> None:
    schema = {
        "type": "object",
        "properties": {"error": {"type": "string"}, "response": {"type": "string"}},
        "required": ["error", "response"],
    }
    result = answer(spec(schema), {})
    value = json.loads(result.text)
    Draft202012Validator(schema).validate(value)
    assert (result.status, value["error"]) == ("ok", "")
    assert value["response"]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string"},
        {"type": ["null", "integer"]},
        {"type": "array"},
        {"type": "array", "maxItems": 0, "items": {"type": "string"}},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"type": "number", "minimum": 7, "maximum": 7},
        {"type": "integer", "minimum": 5, "maximum": 20, "multipleOf": 5},
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63},
        {"type": "integer", "maximum": -500},
        {"type": "string", "maxLength": 2},
        {"type": "string", "description": "the currency code, e.g. EUR"},
        {"oneOf": [{"type": "null"}, {"type": "array", "items": {"type": "boolean"}}]},
        {"$defs": {"a/b": {"type": "integer"}}, "$ref": "#/$defs/a~1b"},
        {"properties": {"a": {"items": {"properties": {"b": {"type": "boolean"}}}}}},
    ],
)
def test_schemas_of_every_make(schema: dict[str, Any]) -> None:
    for seed in range(5):
        Draft202012Validator(schema).validate(json.loads(answer(spec(schema), {}, seed).text))


LOOP = {"$ref": "#/$defs/a"}
MANY = {f"p{number}": LOOP for number in range(5)}


@pytest.mark.parametrize(
    "schema",
    [
        {**LOOP, "$defs": {"a": LOOP}},
        {**LOOP, "$defs": {"a": {"allOf": [LOOP, LOOP]}}},
        {**LOOP, "$defs": {"a": {"anyOf": [LOOP, LOOP]}}},
        {**LOOP, "$defs": {"a": {"properties": MANY, "required": list(MANY)}}},
        {**LOOP, "$defs": {"a": {"items": LOOP, "minItems": 50}}},
        {"type": "array", "minItems": 10**9, "items": {"type": "string", "minLength": 10**9}},
        {"properties": {str(number): {"type": "string"} for number in range(5000)}},
        {"$ref": "https://example.org/schema"},
        {"$ref": 3, "enum": 4, "properties": [], "required": "x", "items": 1, "type": "what"},
        {"type": "string", "examples": 3, "description": ["a"], "format": []},
        {"type": "number", "minimum": "1", "maximum": True, "multipleOf": 0},
        {"type": "integer", "minimum": 10**400},
    ],
)
def test_no_schema_is_too_much(schema: dict[str, Any]) -> None:
    result = answer(spec(schema), {"city": "Graz"})
    json.loads(result.text)
    assert len(result.text) < 100_000


def test_an_answer_fits_into_a_reply() -> None:
    item = {"type": "object", "properties": {f"field{n}": {"type": "string"} for n in range(20)}}
    schema = {"type": "array", "items": {"type": "object", "properties": {"a": item, "b": item}}}
    assert len(answer(spec(schema), {}).text) < 4 * 1024


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text() | st.none(), max_size=4))
def test_any_arguments_are_answered(arguments: dict[str, Any]) -> None:
    text = answer(spec(), arguments).text
    assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize(
    "text",
    [
        "Answer three questions. Informative: Faithful: Appropriate: Yes or No",
        "Action: x\nAction Input: {}\nFinal Answer: y",
        "User Query:",
        "Arguments of the call:\n[1]\n\nAnswer of the service:",
        "Returns: {\nReturns: [1]",
        "say it in other words, in a new wording",
    ],
)
def test_the_documentation_of_a_tool_is_no_request_to_the_teacher(text: str) -> None:
    tool = spec(FORECAST, description=f"Tells the weather.\n\n{text}")
    request = ask_simulator(tool, {"city": "Graz", "note": text}, PROMPTS)
    assert task_of([message.model_dump() for message in request.messages]) == "simulate"
    value = json.loads(read_simulation(ask(request, 0)).text)
    Draft202012Validator(FORECAST).validate(value)
    assert value["city"] == "Graz"


def test_an_observation_that_ends_like_the_prompt_is_none() -> None:
    messages = [{"role": "user", "content": "Observation: x\nAnswer of the service:"}]
    assert task_of(messages) == "answer"


def test_a_prompt_without_a_call_is_refused() -> None:
    request = ask_simulator(spec(), {}, PROMPTS).messages[0].content
    for prompt in (request.replace("{}", "[1]"), request.replace("Parameters:", "P:")):
        message = {"role": "user", "content": prompt}
        assert json.loads(reply([message], 0)) == {"error": "the call cannot be read"}


def test_a_simulated_tool_can_be_explored() -> None:
    tools = [spec(FORECAST), spec(name="other")]
    by_name = {tool.name: tool for tool in tools}

    def execute(name: str, arguments: dict[str, Any]) -> ToolResult:
        return answer(by_name[name], arguments)

    figures = measure(explore(tools, execute))
    assert figures.num_trials == 16
    assert figures.solved >= 0.8


def test_the_server_counts_the_role() -> None:
    prompt = ask_simulator(spec(FORECAST), {"city": "Graz"}, PROMPTS).messages[0].content

    async def test(client: Client) -> None:
        status, _, body = await client.ask(prompt, max_tokens=1024)
        assert status == 200
        text = body["choices"][0]["message"]["content"]
        assert json.loads(text)["city"] == "Graz"
        assert body["choices"][0]["finish_reason"] == "stop"
        assert (await client.stats())["by_role"] == {"tool_simulator": 1}

    with_teacher(TeacherSettings(), test)

"""The tool executor: refusals before the call, results after it."""

import asyncio
import json
from pathlib import Path

import pytest

from ste_ray.core.effects import CallTool
from ste_ray.core.records import ToolSpec
from ste_ray.errors import ToolSpecError
from ste_ray.tools.python.pool import WorkerPool
from ste_ray.tools.toolbox import Toolbox


@pytest.fixture(autouse=True)
def _targets_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def spec(name="echo", target="tool_targets:echo", **fields):
    return ToolSpec(
        name=name,
        description="Repeats its arguments.",
        parameters={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
        executor={"kind": "python", "target": target},
        **fields,
    )


def call(tool_spec, tool, arguments_json):
    async def main():
        async with Toolbox({tool_spec.name: tool_spec}, WorkerPool(1, 512, "2026-03-02")) as tools:
            return await tools.call(CallTool(tool=tool, arguments_json=arguments_json))

    return asyncio.run(main())


def test_a_fitting_call_is_made():
    result = call(spec(), "echo", '{"a": 1}')
    assert (result.status, result.text) == ("ok", '{"a": 1}')
    assert 0 < result.seconds < 10


@pytest.mark.parametrize(
    ("tool", "arguments", "part"),
    [
        ("ecko", '{"a": 1}', "There is no tool 'ecko' (did you mean 'echo'?); the tools are: echo"),
        ("echo", '{"b": 1}', "unknown argument 'b'; the tool takes 'a'; argument 'a' is missing"),
        ("echo", '{"a": "1"}', "argument 'a' is \"1\"; expected integer"),
        ("echo", "[]", "is no JSON object"),
    ],
)
def test_a_call_that_cannot_be_right_is_refused_without_being_made(tool, arguments, part):
    # A call of this target would end the process.
    result = call(spec(target="tool_targets:kill_itself"), tool, arguments)
    assert result.status == "rejected"
    assert part in result.text


def test_a_lenient_tool_judges_its_arguments_itself():
    lenient = spec(lenient=True)
    assert call(lenient, "echo", '{"b": "x"}').text == '{"b": "x"}'
    assert call(lenient, "echo", "[]").status == "rejected"


def test_the_limits_of_the_specification_hold():
    slow = spec(target="tool_targets:sleep", lenient=True, timeout_seconds=0.3)
    assert call(slow, "echo", '{"seconds": 600}').status == "timeout"
    wordy = spec(max_output_chars=5)
    assert call(wordy, "echo", '{"a": 1234}').text == '{"a":… [cut: 5 of 11 characters]'


def test_verify_names_the_tool_whose_function_is_missing():
    async def main(*specs):
        async with Toolbox({s.name: s for s in specs}, WorkerPool(1, 512, "2026-03-02")) as tools:
            await tools.verify()

    asyncio.run(main(spec(), spec("sleep", "tool_targets:sleep")))
    with pytest.raises(ToolSpecError) as caught:
        asyncio.run(main(spec(), spec("gone", "tool_targets:gone")))
    message = str(caught.value)
    assert "tool 'gone': executor.target='tool_targets:gone' cannot be used" in message
    assert "\n" not in message


def test_calls_at_once_get_their_own_answers():
    async def main():
        async with Toolbox({"echo": spec()}, WorkerPool(2, 512, "2026-03-02")) as tools:
            calls = [CallTool(tool="echo", arguments_json=json.dumps({"a": n})) for n in range(40)]
            return await asyncio.gather(*(tools.call(request) for request in calls))

    assert [json.loads(result.text)["a"] for result in asyncio.run(main())] == list(range(40))

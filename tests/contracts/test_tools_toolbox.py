"""The tool executor: refusals before the call, results after it."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import pytest

from ste_ray.core.effects import CallTool, ToolResult
from ste_ray.core.executor_specs import BmtoolsFunction, HttpRequest
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.errors import ConfigError, ToolSpecError
from ste_ray.runtime.clock import MonotonicClock
from ste_ray.store.artifacts import open_store
from ste_ray.tools.checks import arguments
from ste_ray.tools.config import ToolsConfig
from ste_ray.tools.run import toolbox
from ste_ray.tools.run.gate import Gate
from ste_ray.tools.run.opening import Surroundings, open_toolbox
from ste_ray.tools.run.toolbox import Toolbox

CONFIG = ToolsConfig(num_workers=2, memory_mb=512)


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
        async with open_toolbox({tool_spec.name: tool_spec}, CONFIG) as tools:
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
        async with open_toolbox({s.name: s for s in specs}, CONFIG) as tools:
            await tools.verify()

    asyncio.run(main(spec(), spec("sleep", "tool_targets:sleep")))
    with pytest.raises(ToolSpecError) as caught:
        asyncio.run(main(spec(), spec("gone", "tool_targets:gone")))
    message = str(caught.value)
    assert "tool 'gone': executor.target='tool_targets:gone' cannot be used" in message
    assert "\n" not in message


def test_calls_at_once_get_their_own_answers():
    async def main():
        async with open_toolbox({"echo": spec()}, CONFIG) as tools:
            calls = [CallTool(tool="echo", arguments_json=json.dumps({"a": n})) for n in range(40)]
            return await asyncio.gather(*(tools.call(request) for request in calls))

    assert [json.loads(result.text)["a"] for result in asyncio.run(main())] == list(range(40))


class Remembering:
    """Fulfils ``Executor``: shows what it was asked."""

    def __init__(self):
        self.said = []

    async def prepare(self, call):
        pass

    async def call(self, call):
        self.said.append(("call", call.episode, call.arguments))
        return ToolResult(status="ok", text="done")

    async def verify(self, specs):
        self.said.append(("verify", [one.name for one in specs]))

    def preview(self, call):
        return f"would call {call.spec.name}"

    async def end_episode(self, episode):
        self.said.append(("end", episode))

    async def aclose(self):
        self.said.append(("close",))


def test_an_episode_is_told_to_the_executor_and_ends_even_when_it_fails():
    executor = Remembering()
    opened = []

    def open_executor(kind):
        opened.append(kind)
        return executor

    async def main():
        async with Toolbox({"echo": spec()}, open_executor) as tools:
            async with tools.episode("none"):
                pass
            assert not opened
            request = CallTool(tool="echo", arguments_json='{"a": 1}')
            assert await tools.preview(request) == "would call echo"
            with contextlib.suppress(ZeroDivisionError):
                async with tools.episode("one") as one, tools.episode("two") as two:
                    await one.call(request)
                    await two.call(request)
                    raise ZeroDivisionError
            await tools.verify(["echo"])

    asyncio.run(main())
    assert opened == ["python"]
    assert executor.said == [
        ("call", "one", {"a": 1}),
        ("call", "two", {"a": 1}),
        ("end", "two"),
        ("end", "one"),
        ("verify", ["echo"]),
        ("close",),
    ]


def test_a_kind_that_cannot_be_called_is_refused():
    odd = spec().changed(executor=BmtoolsFunction(function="f"))
    with pytest.raises(ToolSpecError, match=r"kind='bmtools' cannot be called.*when_missing"):
        call(odd, "echo", '{"a": 1}')


@pytest.mark.parametrize("pattern", [{}, {"pattern": "(a+)+$"}])
def test_arguments_that_were_read_before_are_not_read_again(pattern):
    """Also where they are checked in another process, which reads them for itself."""
    text = {"type": "string", **pattern}
    echo = spec().changed(parameters={"type": "object", "properties": {"text": text}})
    known = CallTool.of("echo", '{"text": "aa"}', {"text": "aa"})
    assert known == CallTool(tool="echo", arguments_json='{"text": "aa"}')
    assert known.request_hash == CallTool(**known.model_dump()).request_hash
    wrong = CallTool.of("echo", '{"text": 5}', {"text": 5})

    async def main():
        async with open_toolbox({"echo": echo}, CONFIG) as tools:
            return await tools.preview(known), await tools.preview(wrong)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toolbox, "parse_object", None)
        patch.setattr(arguments.ArgumentCheck, "refusal", None)
        shown, refused = asyncio.run(main())
    assert "'aa'" in shown
    assert "argument 'text' is 5; expected string" in refused


def test_recording_needs_a_place():
    with pytest.raises(ConfigError, match=r"recording='reuse' needs tools\.recordings"):
        open_toolbox({}, ToolsConfig(recording="reuse"))


def test_recordings_hold_no_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "canary-value")
    lenient = spec(target="described_tools:secret_names", secrets=("MY_KEY",), effect="read_only")
    lenient = lenient.model_copy(update={"parameters": {"type": "object"}})
    config = CONFIG.model_copy(update={"recording": "reuse"})

    async def main():
        around = Surroundings(recordings=open_store(str(tmp_path / "recordings")))
        async with open_toolbox({"echo": lenient}, config, around) as tools:
            request = CallTool(tool="echo", arguments_json="{}")
            return [await tools.call(request), await tools.call(request)]

    first, second = asyncio.run(main())
    assert "[secret MY_KEY]" in first.text
    assert (second.text, second.source) == (first.text, "recorded")
    files = [path for path in (tmp_path / "recordings").rglob("*") if path.is_file()]
    assert files
    assert not any(b"canary" in path.read_bytes() for path in files)


def test_who_waits_for_room_holds_no_turn(tmp_path):
    """Two episodes of a tool that allows one call at once, with room for one server only."""
    raw = Path(__file__).parents[1] / "mcp_servers/raw.py"
    server = {"name": "raw", "command": sys.executable, "args": [str(raw)], "stateful": True}
    echo = ToolSpec(
        name="echo",
        description="d",
        parameters={"type": "object"},
        executor={"kind": "mcp", "tool": "echo", "server": server},
        effect="read_only",
        concurrency=1,
        lenient=True,
    )
    config = CONFIG.model_copy(update={"max_servers": 1})

    async def episode(tools, name, gate):
        async with tools.episode(name, gate) as one:
            request = CallTool(tool="echo", arguments_json='{"text": "hi"}')
            return [(await one.call(request)).status for _ in range(3)]

    async def main():
        async with open_toolbox({"echo": echo}, config) as tools, asyncio.timeout(30):
            gate = Gate(echo, MonotonicClock())
            return await asyncio.gather(*(episode(tools, name, gate) for name in "abc"))

    assert asyncio.run(main()) == [["ok"] * 3] * 3


def test_one_executor_that_fails_to_close_keeps_no_other_open():
    class Failing(Remembering):
        async def aclose(self):
            await super().aclose()
            raise ZeroDivisionError

    executors = {"python": Failing(), "http": Failing()}
    http = spec("http").changed(executor=HttpRequest(url="https://x.test"))

    async def main():
        async with Toolbox({"echo": spec(), "http": http}, executors.__getitem__) as tools:
            await tools.verify()

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert all(one.said[-1] == ("close",) for one in executors.values())

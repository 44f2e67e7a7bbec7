"""Specifications from signatures and docstrings, and tool files that leave out what these say."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from tool_specs import load_tool_specs

from ste_ray.errors import ToolSpecError
from ste_ray.tools.checks.arguments import ArgumentCheck
from ste_ray.tools.python.describe import describe_targets, import_python
from ste_ray.tools.python.executor import PythonExecutor
from ste_ray.tools.python.pool import WorkerPool
from ste_ray.tools.run.executor import CheckedCall
from ste_ray.tools.run.secrets import Secrets
from ste_ray.tools.spec.checks import build_spec

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _targets_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))


def one(name):
    return describe_targets([f"described_tools:{name}"])[0]


def refusal(target, **options):
    with pytest.raises(ToolSpecError) as caught:
        describe_targets([target], **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_signature_and_docstring_make_the_specification():
    found = one("google")
    assert found.name == "google"
    assert found.description == (
        "Adds the sales tax of a country to a net price.\n\nThe rates are those of today."
    )
    assert found.parameters == {
        "type": "object",
        "properties": {
            "net": {"type": "number", "description": "Net price in euros."},
            "country": {
                "type": "string",
                "enum": ["DE", "FR"],
                "description": "Where it is sold.",
            },
            "note": {
                "anyOf": [{"type": "string"}, {"type": "null"}],
                "default": None,
                "description": "Printed on the bill.",
            },
        },
        "required": ["net", "country"],
    }
    assert found.output_schema == {"type": "object", "additionalProperties": {"type": "number"}}
    assert not found.convert


def test_other_docstring_styles_and_awkward_names():
    assert one("numpy").parameters["properties"]["items"]["description"] == "What to sort."
    properties = one("sphinx").parameters["properties"]
    assert properties["title"] == {"type": "string", "description": "What comes first."}
    assert properties["schema"]["description"] == "What follows."


def test_types_that_json_lacks_are_converted():
    found = one("rich")
    assert found.convert
    properties = found.parameters["properties"]
    assert properties["day"] == {"type": "string", "format": "date"}
    assert properties["level"] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 9,
        "default": 3,
        "description": "how much",
    }
    assert found.parameters["$defs"]["Colour"]["enum"] == ["red", "blue"]
    assert "title" not in json.dumps(found.parameters)


def test_a_module_stands_for_its_public_functions():
    assert [one.name for one in import_python("described_module")] == ["first", "second"]
    specs = import_python("described_module:second", effect="read_only")
    assert specs[0].executor.as_written() == {"kind": "python", "target": "described_module:second"}
    assert specs[0].effect == "read_only"


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("described_tools:undocumented", ["'described_tools:undocumented' has no docstring"]),
        ("described_tools:unhinted", ["the parameter 'a' of", "has no type hint; add one"]),
        ("described_tools:gathering", ["'*numbers'"]),
        ("described_tools:keywords", ["'**names'"]),
        ("described_tools:positional", ["'a', which is given without a name"]),
        ("described_tools:unsupported", ["takes what JSON cannot give", "Odd"]),
        ("described_tools:dangling", ["cannot be read: NameError", "NoSuchType"]),
        ("described_tools:gogle", ["'gogle' (did you mean 'google'?); it has: google, numpy"]),
        ("described_tools:Odd", ["is no function but type"]),
        ("described_module:VALUE", ["is no function but int"]),
        ("no_such_module:f", ["cannot be imported: ModuleNotFoundError"]),
    ],
)
def test_what_a_function_lacks_is_named(target, parts):
    message = refusal(target)
    assert all(part in message for part in parts), message


def write_module(folder, monkeypatch, code):
    (folder / "odd_module.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))


def test_a_module_that_ends_the_process_or_hangs_is_survived(tmp_path, monkeypatch):
    write_module(tmp_path, monkeypatch, "import os\nos._exit(3)\n")
    assert "ended the process (exit code 3)" in refusal("odd_module:f")
    write_module(tmp_path, monkeypatch, "import sys\nsys.exit(3)\n")
    assert "cannot be imported: SystemExit: 3" in refusal("odd_module:f")
    write_module(tmp_path, monkeypatch, "import time\ntime.sleep(600)\n")
    started = time.monotonic()
    assert "took longer than 2 seconds" in refusal("odd_module:f", timeout_seconds=2)
    assert time.monotonic() - started < 20
    assert "odd_module" not in sys.modules


def test_a_tool_file_may_leave_out_what_the_function_says(tmp_path):
    tools = [
        {"executor": {"kind": "python", "target": "described_tools:google"}},
        {
            "name": "mine",
            "description": "My words.",
            "effect": "read_only",
            "executor": {"kind": "python", "target": "described_tools:rich"},
        },
    ]
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump({"tools": tools}))
    specs = load_tool_specs([str(path)], shipped=tmp_path)
    assert specs["google"].description.startswith("Adds the sales tax")
    assert specs["mine"].description == "My words."
    assert specs["mine"].executor.convert is True
    tools[0]["executor"]["target"] = "described_tools:unhinted"
    path.write_text(yaml.safe_dump({"tools": tools}))
    with pytest.raises(ToolSpecError, match=r"t\.yaml.*'a' of 'described_tools:unhinted'"):
        load_tool_specs([str(path)], shipped=tmp_path)


def call(name, secrets=None, **arguments):
    """Call a function through the executor, as its own description says."""
    described = one(name)
    fields = {
        "name": name,
        "description": described.description,
        "parameters": described.parameters,
        "executor": {
            "kind": "python",
            "target": described.target,
            "convert": described.convert,
        },
        "secrets": sorted(secrets or {}),
    }
    spec = build_spec("a file", "tools[0]", {}, fields)
    assert ArgumentCheck(spec.parameters).refusal(json.dumps(arguments)) is None

    async def main():
        executor = PythonExecutor(WorkerPool(1, 1024, "2026-03-02"), Secrets(secrets or {}))
        try:
            await executor.verify([spec])
            return await executor.call(CheckedCall(spec, arguments))
        finally:
            await executor.aclose()

    return asyncio.run(main())


RICH = {
    "day": "2026-03-02",
    "colour": "blue",
    "place": {"lat": 1, "lng": 2},
    "order": {"item": "tea", "count": 2},
    "amount": "1.10",
    "key": "12345678-1234-5678-1234-567812345678",
    "tags": ["a"],
}


def test_arguments_and_results_are_converted():
    result = call("rich", **RICH)
    assert (result.status, json.loads(result.text)) == ("ok", {"item": "tea", "count": 2})
    assert json.loads(call("dated").text) == {
        "day": "2026-03-02",
        "place": {"lat": 1.0, "lng": 2.0},
        "colour": "red",
    }
    assert call("slow", seconds=0.5).text == "waited 0.5"


def test_an_argument_that_cannot_be_converted_is_named():
    result = call("rich", **RICH | {"day": "2026-02-30"})
    assert result.status == "error"
    assert "argument 'day' is '2026-02-30'" in result.text


def test_secrets_are_there_during_the_call_only():
    found = call("secret_names", secrets={"MY_KEY": "topsecret"})
    assert json.loads(found.text) == {"MY_KEY": "topsecret", "OTHER_KEY": None}


def test_a_secret_may_stand_in_for_a_variable_of_the_worker():
    async def main():
        async with WorkerPool(1, 1024, "2026-03-02") as pool:
            target = "tool_targets:environment"
            await pool.call(target, {}, 10, secrets={"STE_TODAY": "a secret"})
            return json.loads((await pool.call(target, {}, 10)).text)

    assert asyncio.run(main())["STE_TODAY"] == "2026-03-02"


def test_a_module_that_hangs_does_not_outlive_a_killed_process(tmp_path, monkeypatch):
    write_module(tmp_path, monkeypatch, "import time\ntime.sleep(600)\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from ste_ray.tools.python.describe import describe_targets; "
        "describe_targets(['odd_module:f'])"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        found: list[psutil.Process] = []
        wait_until(lambda: found.extend(psutil.Process(process.pid).children(True)) or found)
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not any(one.is_running() for one in found))


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def traces_of(pid):
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline"))


def test_secrets_leave_no_trace_in_the_worker():
    async def main():
        async with WorkerPool(1, 1024, "2026-03-02") as pool:
            target = "described_tools:secret_names"
            with_it = await pool.call(target, {}, 10, secrets={"MY_KEY": "topsecret"})
            without = await pool.call(target, {}, 10)
            pid = next(iter(pool._workers)).pid
            return with_it.text, without.text, traces_of(pid)

    with_it, without, traces = asyncio.run(main())
    assert "topsecret" in with_it
    assert "topsecret" not in without
    assert b"topsecret" not in traces


def test_a_secret_that_is_not_set_is_told_before_any_call():
    with pytest.raises(ToolSpecError, match="'MY_KEY' is not set"):
        asyncio.run(_verify_without_secret())


async def _verify_without_secret():
    fields = {
        "name": "t",
        "description": "d",
        "parameters": {"type": "object"},
        "executor": {"kind": "python", "target": "described_tools:secret_names"},
        "secrets": ["MY_KEY"],
    }
    executor = PythonExecutor(WorkerPool(1, 512, "2026-03-02"), Secrets({}))
    try:
        await executor.verify([build_spec("a file", "tools[0]", {}, fields)])
    finally:
        await executor.aclose()

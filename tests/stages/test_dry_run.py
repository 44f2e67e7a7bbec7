"""What --dry-run shows: for each tool where a call goes, whether it is made, and how it looks."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ste_ray.cli.main import main
from ste_ray.config import load_config
from ste_ray.stages.explore.dry_run import dry_run, dry_run_lines
from ste_ray.stages.shared.tools import configure_tools, survey_tools

TOOLS: list[dict[str, Any]] = [
    {
        "name": "calendar",
        "description": "Tells holidays.",
        "effect": "read_only",
        "executor": {"kind": "python", "target": "json:dumps"},
        "parameters": {
            "type": "object",
            "properties": {"net": {"type": "string"}, "year": {"type": ["integer", "null"]}},
            "required": ["net"],
        },
    },
    {
        "name": "weather",
        "description": "Tells the weather.",
        "effect": "read_only",
        "executor": {
            "kind": "http",
            "url": "https://weather.example/{city}",
            "headers": {"Authorization": "Bearer ${WEATHER_KEY}"},
        },
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
        "examples": [{"arguments": {"city": "New York"}}],
    },
    {
        "name": "remember",
        "description": "Remembers a note.",
        "effect": "writes",
        "executor": {
            "kind": "mcp",
            "tool": "note",
            "server": {"name": "memory", "command": "memory-server", "args": ["--fast"]},
        },
        "parameters": {
            "type": "object",
            "properties": {"how": {"enum": ["long", "short"]}},
            "required": ["how"],
        },
    },
    {
        "name": "forget",
        "description": "Forgets everything.",
        "effect": "destructive",
        "executor": {"kind": "http", "method": "POST", "url": "https://memory.example/forget"},
        "parameters": {"type": "object", "properties": {}},
    },
]


@pytest.fixture
def plan(tmp_path, monkeypatch) -> dict[str, Any]:
    monkeypatch.setenv("WEATHER_KEY", "canary-4711-key")
    file = tmp_path / "tools.yaml"
    file.write_text(yaml.safe_dump({"tools": TOOLS, "allow": ["remember"]}))
    config = load_config(None, [f"tools.files=[{file}]", "explore.episodes_per_tool=2"])
    return dry_run(configure_tools(config.tools), config)


def test_each_tool_says_where_it_goes_and_why_it_may(plan):
    rows = {row["name"]: row for row in [*plan["tools"], *plan["left_out"]]}
    assert [row["name"] for row in plan["left_out"]] == ["forget"]
    assert {name: row["where"] for name, row in rows.items()} == {
        "calendar": "json:dumps",
        "weather": "GET https://weather.example/{city}",
        "remember": "note of MCP server memory (memory-server --fast)",
        "forget": "POST https://memory.example/forget",
    }
    assert {name: row["allowed"].partition(":")[0] for name, row in rows.items()} == {
        **dict.fromkeys(["calendar", "weather", "remember"], "yes"),
        "forget": "no",
    }
    assert "allowed by name" in rows["remember"]["allowed"]
    assert "tools.allow" in rows["forget"]["allowed"]


def test_a_call_is_shown_with_an_example_and_never_with_made_up_values(plan):
    rows = {row["name"]: row for row in plan["tools"]}
    assert rows["weather"]["would"].startswith("GET https://weather.example/New%20York (")
    assert "[secret WEATHER_KEY]" in rows["weather"]["would"]
    assert rows["remember"]["example"] == {"how": "long"}
    assert (rows["calendar"]["example"], rows["calendar"]["would"]) == (None, "")
    assert rows["calendar"]["takes"] == "net (string), year (integer or null, may be left out)"


def test_secrets_are_named_and_never_shown(plan, monkeypatch):
    assert plan["tools"][-1]["secrets"] == {"WEATHER_KEY": True}
    assert plan["calls_at_most"] == 96
    lines = dry_run_lines(plan)
    assert "secrets  WEATHER_KEY (set)" in lines
    assert "canary" not in lines + str(plan)


def test_a_person_reads_a_table_and_then_each_tool(plan):
    lines = dry_run_lines(plan).splitlines()
    assert lines[0].split() == ["tool", "kind", "effect", "called", "where"]
    assert [line.split()[:4] for line in lines[2:6]] == [
        ["calendar", "python", "read_only", "yes"],
        ["remember", "mcp", "writes", "yes"],
        ["weather", "http", "read_only", "yes"],
        ["forget", "http", "destructive", "no"],
    ]
    place = lines.index("calendar")
    assert lines[place + 1 : place + 5] == [
        "  where    json:dumps",
        "  called   yes: it only reads",
        "  takes    net (string), year (integer or null, may be left out)",
        "  example  none",
    ]
    assert lines[-1] == (
        "3 tools would be called, at most 96 times in all; 1 left out because they were not "
        "allowed (tools.allow)"
    )


def test_tools_that_an_exploration_would_refuse_are_shown_as_not_called(tmp_path, monkeypatch):
    monkeypatch.delenv("WEATHER_KEY", raising=False)
    undocumented = TOOLS[0] | {"name": "old", "executor": {"kind": "bmtools", "function": "f"}}
    file = tmp_path / "tools.yaml"
    file.write_text(yaml.safe_dump({"tools": [TOOLS[0], TOOLS[1], undocumented]}))
    config = load_config(None, [f"tools.files=[{file}]", "explore.episodes_per_tool=2"])
    tools, refusal = survey_tools(config.tools)
    assert "'old'" in str(refusal)
    plan = dry_run(tools, config)
    assert {row["name"]: row["allowed"] for row in plan["tools"]} == {
        "calendar": "yes: it only reads",
        "old": "no: it can be described, but not called; a model can play it (tools.simulate)",
        "weather": "no: WEATHER_KEY not set; a model can play it (tools.simulate)",
    }
    end = dry_run_lines(plan).splitlines()[-2:]
    assert end[0] == "1 tools would be called, at most 32 times in all"
    assert end[1].startswith("Secrets that are not set: WEATHER_KEY;")


def test_where_no_tool_is_allowed_the_table_still_comes_before_the_refusal(tmp_path, capsys):
    file = tmp_path / "tools.yaml"
    file.write_text(yaml.safe_dump({"tools": [TOOLS[3]]}))
    options = ["--run", str(tmp_path / "run"), "--dry-run", f"tools.files=[{file}]"]
    assert main(["explore", *options]) == 2
    out, err = capsys.readouterr()
    assert "called   no: it may change something (effect destructive)" in out
    assert err.startswith("error: these tools may change something")
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_in_an_adaptive_plan_tools_may_get_episodes_of_those_that_are_not_called(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("WEATHER_KEY", raising=False)
    file = tmp_path / "tools.yaml"
    file.write_text(yaml.safe_dump({"tools": TOOLS[:2]}))
    options = [f"tools.files=[{file}]", "explore.episodes_per_tool=2"]
    config = load_config(None, [*options, "explore.plan=adaptive", "explore.patience=1"])
    plan = dry_run(survey_tools(config.tools)[0], config)
    assert plan["calls_at_most"] == 3 * 4 * 4  # episodes, trials, turns; the other has one at least

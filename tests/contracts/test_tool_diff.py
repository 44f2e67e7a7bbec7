"""``ste-ray tools diff``: sources of every kind, what is printed, exit codes and mistakes."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from ste_ray.cli.main import main
from ste_ray.core import layout
from ste_ray.tools.spec.files import read_tool_files

HERE = Path(__file__).parent
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "units": {"enum": ["m", "i"]}},
    "required": ["city"],
}
GITHUB = (
    HERE.parents[1] / ".third-party/node_modules/@octokit/openapi/generated/api.github.com.json"
)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.chdir(tmp_path)


def diff(capsys, *arguments, code):
    assert main(["tools", "diff", *arguments]) == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def tool(name="weather", parameters=SCHEMA, **fields):
    return {
        "name": name,
        "description": "Tells the weather.",
        "effect": "read_only",
        "parameters": parameters,
        "executor": {"kind": "python", "target": "tool_targets:echo"},
        **fields,
    }


def write(name, *tools):
    Path(name).write_text(yaml.safe_dump({"tools": list(tools)}))
    return name


def test_nothing_texts_and_more(capsys):
    old = write("old.yaml", tool())
    out, _ = diff(capsys, old, old, code=0)
    assert out.startswith("nothing changed in 1 tool\n")
    units = {"anyOf": [{"const": "i"}, {"const": "m"}], "title": "Units"}
    city = {"$ref": "#/$defs/City"}
    same = {
        **SCHEMA,
        "properties": {"units": units, "city": city},
        "$defs": {"City": {"type": "string"}},
    }
    assert diff(capsys, old, write("same.yaml", tool(parameters=same)), code=0)[0].startswith(
        "nothing"
    )
    out, _ = diff(capsys, old, write("told.yaml", tool(description="Tells it.")), code=0)
    assert out.startswith("no retraining is due, only texts of prompts: 1 tool changed")
    must = {**SCHEMA, "required": ["city", "units"]}
    out, _ = diff(capsys, old, write("new.yaml", tool(parameters=must)), code=3)
    assert out.startswith("retraining is due for 1 tool: 1 tool changed, 0 the same\n")
    (row,) = [line for line in out.splitlines() if line.startswith("weather")]
    assert row.split()[:3] == ["weather", "required", "units"]
    assert row.endswith("break")


def test_json_and_markdown_hold_every_change(capsys):
    old, new = (
        write("old.yaml", tool()),
        write("new.yaml", tool("rain|fall"), tool("b", {"type": "object"})),
    )
    out, _ = diff(capsys, old, new, "--json", "--markdown", "diff.md", code=3)
    found = json.loads(out)
    assert (found["retraining_is_due"], found["num_old"], found["num_new"]) == (True, 1, 2)
    assert [(one["tool"], one["kind"]) for one in found["changes"]] == [
        ("b", "tool added"),
        ("rain|fall", "tool renamed"),
    ]
    page = Path("diff.md").read_text()
    assert page.startswith("### ste-ray: retraining is due for 2 tools")
    assert "| rain\\|fall | tool renamed |" in page
    diff(capsys, old, new, "--ignore-added", code=3)
    out, _ = diff(capsys, old, write("more.yaml", tool(), tool("b")), "--ignore-added", code=0)
    assert out.startswith("nothing changed")


def test_a_run_is_compared_with_what_it_recorded(capsys):
    file = write("tools.yaml", tool())
    (spec,) = read_tool_files([file], shipped=HERE).specs.values()
    recorded = Path("run") / layout.TOOLS
    recorded.parent.mkdir(parents=True)
    recorded.write_text(json.dumps([spec.model_dump(mode="json")]))
    diff(capsys, "run", file, code=0)
    out, _ = diff(capsys, f"file://{Path('run').absolute()}", write("n.yaml", tool("z")), code=3)
    assert "was 'weather'" in out


def test_live_sources_are_compared_as_they_are_now(capsys):
    servers = {
        "raw": {"command": sys.executable, "args": [str(HERE.parent / "mcp_servers/raw.py")]}
    }
    Path("mcp.json").write_text(json.dumps({"mcpServers": servers}))
    assert main(["tools", "import", "mcp", "mcp.json", "--out", "mcp.yaml"]) == 0
    capsys.readouterr()
    diff(capsys, "mcp.yaml", "mcp:mcp.json", code=0)
    get = {"operationId": "now", "description": "Tells it.", "responses": {}}
    document = {
        "openapi": "3.0.3",
        "info": {"title": "W", "version": "1"},
        "servers": [{"url": "https://api.example.com"}],
        "paths": {"/now": {"get": get}},
    }
    Path("a.json").write_text(json.dumps(document))
    day = {"name": "day", "in": "query", "schema": {"type": "string", "nullable": True}}
    document["paths"]["/now"]["get"]["parameters"] = [day]
    Path("b.json").write_text(json.dumps(document))
    out, _ = diff(capsys, "openapi:a.json", "openapi:b.json", "--json", code=3)
    one, *others = json.loads(out)["changes"]
    assert [other["kind"] for other in others] == ["executor"]  # which sends one parameter more
    assert (one["kind"], one["parameter"], one["breaks"]) == ("parameter added", "day", False)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("nowhere.yaml", "'nowhere.yaml' has no tools (no tool file 'nowhere.yaml'"),
        ("https://example.com/x.json", "write 'openapi:https://example.com/x.json'"),
        (
            "opnapi:x.json",
            "'opnapi' of 'opnapi:x.json' is no kind of source (did you mean 'openapi'?)",
        ),
        ("mcp:", "'mcp:' names no source"),
        ("openapi:nowhere.json", "nowhere.json"),
        ("file:///nowhere/run", "there is no run at '/nowhere/run'"),
        ("broken.yaml", "'broken.yaml': tools=3: write a list with at least one tool"),
    ],
)
def test_a_mistake_is_said_in_one_line(capsys, source, told):
    Path("broken.yaml").write_text("tools: 3")
    _, err = diff(capsys, write("old.yaml", tool()), source, code=2)
    (line,) = err.splitlines()
    assert told in line


@pytest.mark.skipif(not GITHUB.exists(), reason="needs the npm package @octokit/openapi")
def test_what_changes_in_a_part_of_githubs_description_is_found(capsys):
    document = json.loads(GITHUB.read_text())
    whole = document["paths"]
    document["paths"] = {path: whole[path] for path in whole if path.startswith("/gists")}
    Path("old.json").write_text(json.dumps(document))
    listing = document["paths"]["/gists"]["get"]
    listing["parameters"] = listing["parameters"][1:]
    document["paths"]["/gists/{gist_id}"]["get"]["operationId"] = "gists/read"
    Path("new.json").write_text(json.dumps(document))
    out, _ = diff(capsys, "openapi:old.json", "openapi:new.json", "--json", code=3)
    found = [one for one in json.loads(out)["changes"] if one["group"] == "retrain"]
    assert [(one["tool"], one["kind"]) for one in found] == [
        ("gists/list", "parameter removed"),
        ("gists/read", "tool renamed"),
    ]

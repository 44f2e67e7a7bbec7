"""``ste-ray tools``: what a person sees, what a machine reads, and the exit codes."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from ste_ray.cli.main import main
from ste_ray.tools.spec.files import read_tool_files

HERE = Path(__file__).parent
RAW = str(HERE.parent / "mcp_servers/raw.py")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.chdir(tmp_path)


def run(capsys, *arguments, code=0):
    """Run a command and return what it printed to both streams."""
    assert main(["tools", *arguments]) == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def write(name, *tools, **fields):
    Path(name).write_text(yaml.safe_dump({**fields, "tools": list(tools)}))
    return name


def tool(name, function="echo", **fields):
    return {
        "name": name,
        "description": "Repeats its arguments.",
        "effect": "read_only",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
        "executor": {"kind": "python", "target": f"tool_targets:{function}"},
        **fields,
    }


def test_list_says_what_would_be_explored(capsys):
    file = write(
        "t.yaml",
        tool("free", family="one"),
        tool("keyed", secrets=["NO_SUCH_KEY"]),
        tool("unsafe", effect="writes"),
        tool("allowed", effect="unknown"),
        allow=["allowed"],
    )
    out, _ = run(capsys, "list", file)
    assert "one\n  free" in out
    assert "[refused: NO_SUCH_KEY not set]" in out
    assert "4 tools, 2 of them would be explored" in out
    out, _ = run(capsys, "list", "--json", f"tools.files=[{file}]", "tools.allow=[unsafe]")
    rows = {row["name"]: row for row in json.loads(out)}
    assert {name: row["explored"] for name, row in rows.items()} == {
        "free": "yes",
        "keyed": "refused: NO_SUCH_KEY not set",
        "unsafe": "yes",
        "allowed": "yes",
    }


def test_list_knows_which_tools_a_model_would_play(capsys):
    file = write("t.yaml", tool("free"), tool("keyed", secrets=["NO_SUCH_KEY"]))
    out, _ = run(capsys, "list", file, "tools.simulate=when_missing")
    assert "[simulated]" in out
    assert "2 tools, 2 of them would be explored" in out


def test_a_keyword_that_looks_misspelt_is_told_and_the_tool_kept(capsys):
    schema = {"type": "object", "properties": {"a": {"type": "string", "x-separator": "-"}}}
    file = write("t.yaml", tool("card", parameters=schema))
    for command in (["list", file], ["check", file], ["show", "card", "--file", file]):
        out, err = run(capsys, *command)
        assert "card" in out
        assert "card: parameters.properties.a.x-separator is no keyword" in err
        assert "did you mean 'x-separators'?" in err


def test_show_finds_a_tool_by_its_safe_name_too(capsys):
    file = write("t.yaml", tool("odd name%%ü", examples=[{"arguments": {"a": 1}}]))
    out, _ = run(capsys, "show", "odd name%%ü", "--file", file, "--json")
    safe = json.loads(out)["safe_name"]
    out, _ = run(capsys, "show", safe, "--file", file)
    assert out.startswith("odd name%%ü\n")
    assert f"safe name: {safe}" in out
    assert '{"a": 1}' in out
    _, err = run(capsys, "show", "od name%%ü", "--file", file, code=2)
    assert "did you mean 'odd name%%ü'?" in err


def test_call_prints_the_answer_and_fails_when_the_tool_does(capsys):
    file = write("t.yaml", tool("echo"), tool("bad", function="raise_tool_error"))
    assert run(capsys, "call", "echo", '{"a": 1}', "--file", file) == ('{"a": 1}\n', "")
    out, _ = run(capsys, "call", "echo", '{"a": 1}', "--file", file, "--dry-run")
    assert out == "tool_targets:echo(a=1)\n"
    out, err = run(capsys, "call", "bad", "--file", file, code=2)
    assert out.startswith("Unknown colour")
    assert "ended as 'error'" in err
    out, _ = run(capsys, "call", "echo", '{"b": 1}', "--file", file, "--json", code=2)
    result, end = json.JSONDecoder().raw_decode(out)
    assert (result["status"], result["source"]) == ("rejected", "called")
    assert json.loads(out[end:])["error"]["exit_code"] == 2


def test_check_calls_the_examples_and_says_what_fails(capsys):
    good = [{"arguments": {"a": 1}}, {"arguments": {"b": 1}, "expect_error": True}]
    file = write(
        "t.yaml",
        tool("good", examples=good),
        tool("plain"),
        tool("wrong", examples=[{"arguments": {"a": 1}, "expect_error": True}]),
        tool("gone", function="no_such_function"),
        tool("unsafe", effect="writes"),
    )
    out, err = run(capsys, "check", file, "--json", code=2)
    figures = json.JSONDecoder().raw_decode(out)[0]
    states = {row["name"]: row["state"] for row in figures["results"]}
    assert states == {
        "good": "passed",
        "plain": "passed",
        "wrong": "failed",
        "gone": "failed",
        "unsafe": "skipped",
    }
    assert figures["results"][1]["median_ms"] >= 0
    assert "wrong: {\"a\":1} gave 'ok'" in err
    out, _ = run(capsys, "check", file, code=2)
    assert "5 tools: 2 passed, 2 failed, 1 skipped" in out
    assert "5 tools" not in run(capsys, "check", write("u.yaml", tool("plain")))[0]


def servers(**env):
    entry = {"command": sys.executable, "args": [RAW, "pages=2"], "env": env}
    Path("mcp.json").write_text(json.dumps({"mcpServers": {"raw": entry}}))


def test_import_of_mcp_servers_lists_effects_and_keeps_no_secret(capsys, monkeypatch):
    monkeypatch.setenv("RAW_TOKEN", "real-value")
    servers(RAW_TOKEN="literal-value", LEVEL="info")
    out, _ = run(capsys, "import", "mcp", "mcp.json", "--out", "t.yaml")
    assert "t.yaml: 12 tools" in out
    assert "env RAW_TOKEN -> ${RAW_TOKEN}" in out
    assert "11 of 12 tools may change something" in out
    text = Path("t.yaml").read_text()
    assert "literal-value" not in text + out
    assert "real-value" not in text + out
    files = read_tool_files(["t.yaml"], shipped=HERE)
    assert files.allow == frozenset()
    assert files.specs["echo"].secrets == ("RAW_TOKEN",)
    out, _ = run(capsys, "call", "variables", "--file", "t.yaml", "--allow")
    assert '"RAW_TOKEN": "[secret RAW_TOKEN]"' in out
    out, _ = run(capsys, "check", "t.yaml")
    assert "12 tools: 1 passed, 0 failed, 11 skipped" in out


def test_what_cannot_be_used_is_skipped_by_name_on_standard_error(capsys):
    Path("odd.py").write_text(
        'def good(a: int) -> int:\n    """Doubles."""\n    return a\n\n'
        "def silent(a: int) -> int:\n    return a\n\n"
        'def untyped(a) -> int:\n    """Does."""\n    return a\n'
    )
    out, err = run(capsys, "import", "python", "odd", "--out", "p.yaml")
    assert "1 tools" in out
    assert "skipped silent: 'odd:silent' has no docstring" in err
    assert "skipped untyped: the parameter 'a'" in err
    out, _ = run(capsys, "import", "python", "odd", "--out", "p.yaml", "--json")
    assert [row["name"] for row in json.loads(out)["skipped"]] == ["silent", "untyped"]
    _, err = run(capsys, "import", "python", "odd:silent", "--out", "p.yaml", code=2)
    assert "has no docstring" in err


def test_half_a_character_in_one_operation_keeps_no_other_out(capsys):
    place = {"name": "\ud800", "in": "query", "schema": {"type": "string"}}
    responses = {"200": {"description": "ok"}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "T", "version": "1"},
        "servers": [{"url": "https://x.test"}],
        "paths": {
            "/a": {"get": {"operationId": "a", "parameters": [place], "responses": responses}},
            "/b": {"get": {"operationId": "b", "responses": responses}},
        },
    }
    Path("h.json").write_text(json.dumps(document))
    out, err = run(capsys, "import", "openapi", "h.json", "--out", "h.yaml")
    assert "1 tools" in out
    assert "skipped a: it holds half of a surrogate pair" in err


def test_one_rule_for_names_where_tools_are_imported_and_where_they_are_listed(capsys):
    Path("m.json").write_text(
        json.dumps({"mcpServers": {"s": {"command": sys.executable, "args": [RAW, "odd_list"]}}})
    )
    out, err = run(capsys, "import", "mcp", "m.json", "--out", "m.yaml")
    assert "skipped a<b: name='a<b' must have no '<'" in err
    assert "skipped s: text_schema:" in err
    listed, _ = run(capsys, "list", "m.yaml")
    assert "5 tools" in out
    assert "5 tools" in listed


def test_yaml_of_a_document_is_read_by_version_1_2(capsys):
    Path("d.yaml").write_text(
        "openapi: 3.0.3\ninfo: {title: T, version: 1}\nservers: [{url: 'https://x.test'}]\n"
        "paths:\n  /a:\n    get:\n      operationId: a\n      parameters:\n"
        "      - {name: c, in: query, schema: {type: string, enum: [NO, yes, 12:30, 007, 1e3]}}\n"
        "      responses: {200: {description: ok}}\n"
    )
    run(capsys, "import", "openapi", "d.yaml", "--out", "t.yaml")
    specs = read_tool_files(["t.yaml"], shipped=HERE).specs
    expected = ["NO", "yes", "12:30", "007", "1e3"]
    assert specs["a"].parameters["properties"]["c"]["enum"] == expected
    assert (
        yaml.safe_load(Path("t.yaml").read_text())["tools"][0]["parameters"]["properties"]["c"][
            "enum"
        ]
        == expected
    )
    text = Path("d.yaml").read_text()
    Path("d.yaml").write_text(
        text.replace("operationId: a", "operationId: a\n      operationId: b")
    )
    _, err = run(capsys, "import", "openapi", "d.yaml", "--out", "t.yaml", code=2)
    assert "'operationId' is given twice, in line 7 and in line 8" in err
    Path("d.json").write_text('{"openapi": "3.0.3", "openapi": "3.0.3"}')
    _, err = run(capsys, "import", "openapi", "d.json", "--out", "t.yaml", code=2)
    assert "'openapi' is given twice" in err


def test_allow_unknown_allows_what_nothing_is_known_of(capsys):
    servers()
    out, _ = run(
        capsys, "import", "mcp", "mcp.json", "--out", "t.json", "--allow-unknown", "--json"
    )
    result = json.loads(out)
    assert len(result["allowed"]) == 11
    assert result["effects"]["echo"] == "read_only"
    assert len(read_tool_files(["t.json"], shipped=HERE).allow) == 11


def test_import_of_functions(capsys):
    out, _ = run(capsys, "import", "python", "described_module", "--out", "t.yaml")
    assert "first   unknown" in out
    assert list(read_tool_files(["t.yaml"], shipped=HERE).specs) == ["first", "second"]
    call = ["call", "first", '{"a": 3}', "--file", "t.yaml"]
    assert "(effect 'unknown'); give --allow" in run(capsys, *call, code=2)[1]
    assert run(capsys, *call, "--allow")[0] == "3\n"


@pytest.mark.parametrize("name", ["t.yaml", "t.json"])
def test_a_tool_file_that_was_edited_is_not_replaced_unasked(capsys, name):
    path = Path(name)
    command = ("import", "python", "described_module", "--out", name)
    run(capsys, *command)
    written = path.read_bytes()
    run(capsys, *command)  # the same again loses nothing
    edited = written.replace(b"unknown", b"read_only", 1)
    assert edited != written
    path.write_bytes(edited)
    out, err = run(capsys, *command, code=2)
    assert f"{name!r} exists and holds something else" in err
    assert "--force to replace it" in err
    assert (out, path.read_bytes()) == ("", edited)
    assert [one.name for one in Path().glob("*t.*")] == [name]
    run(capsys, *command, "--force")
    assert path.read_bytes() == written


def test_import_of_a_document_names_where_requests_go(capsys):
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Shop", "version": "1"},
        "servers": [{"url": "https://shop.test/v1"}],
        "paths": {"/items": {"get": {"operationId": "items", "summary": "Lists items."}}},
    }
    Path("d.json").write_text(json.dumps(document))
    out, _ = run(capsys, "import", "openapi", "d.json", "--out", "t.yaml", "--prefix", "shop_")
    assert "shop_items  read_only" in out
    assert "go to: https://shop.test" in out
    out, _ = run(capsys, "call", "shop_items", "--file", "t.yaml", "--dry-run")
    assert out == "GET https://shop.test/v1/items\n"
    local = ["--base-url", "http://127.0.0.1:9", "--allow-host", "127.0.0.1"]
    run(capsys, "import", "openapi", "d.json", "--out", "u.yaml", *local)
    assert read_tool_files(["u.yaml"], shipped=HERE).allow_hosts == ("127.0.0.1",)
    out, _ = run(capsys, "call", "items", "--file", "u.yaml", code=2)
    assert "could not be reached" in out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["import", "mcp", "gone.json", "--out", "t.yaml"], "there is no file 'gone.json'"),
        (["import", "openapi", "gone.json", "--out", "t.yaml"], "'gone.json'"),
        (["import", "python", "gone", "--out", "t.yaml"], "'gone' cannot be imported"),
        (["import", "toolbench", "gone", "--out", "t.yaml"], "'gone'"),
        (["import", "openapi", "http://127.0.0.1:9/d", "--out", "t.yaml"], "--allow-host"),
        (["import", "python", "described_module", "--out", "t.toml"], "end its name in .yaml"),
        (["list", "gone.yaml"], "no tool file 'gone.yaml'"),
        (["call"], "NAME"),
        (["call", "add_date", "{}", "--fast"], "--fast"),
        (["list", "tools.filez=[x]"], "did you mean 'files'?"),
    ],
)
def test_mistakes_are_answered_in_one_line(capsys, arguments, part):
    out, err = run(capsys, *arguments, code=2)
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert part in line

"""Files of MCP servers: what is taken along, and that no secret is."""

import json

import pytest

from ste_ray.errors import ToolSpecError
from ste_ray.tools.mcp.servers import read_servers

KEY = "sk-Zm9vYmFyYmF6MTIzNDU2Nzg5MA"


def write(tmp_path, servers, name="mcp.json", top="mcpServers"):
    path = tmp_path / name
    path.write_text(json.dumps({top: servers}))
    return str(path)


def one(tmp_path, **entry):
    found = read_servers(write(tmp_path, {"s": entry}))
    return found.servers[0], found.replaced


def refusal(path):
    with pytest.raises(ToolSpecError) as caught:
        read_servers(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("top", ["mcpServers", "servers"])
def test_both_kinds_of_servers_are_read(tmp_path, top):
    servers = {
        "local": {"type": "stdio", "command": "server", "args": ["-v"], "env": {"LEVEL": "info"}},
        "remote": {"type": "http", "url": "https://x.test/mcp"},
        "off": {"command": "x", "disabled": True},
    }
    found = read_servers(write(tmp_path, servers, top=top))
    assert [server.name for server in found.servers] == ["local", "remote"]
    assert (found.servers[0].args, found.servers[0].env) == (("-v",), {"LEVEL": "info"})
    assert found.servers[1].url == "https://x.test/mcp"
    assert found.skipped == [("off", "it is disabled")]
    assert found.replaced == []


@pytest.mark.parametrize(
    ("entry", "field", "kept"),
    [
        ({"env": {"GITHUB_TOKEN": "abc"}}, "env", {"GITHUB_TOKEN": "${GITHUB_TOKEN}"}),
        ({"env": {"my-api-key": "abc"}}, "env", {"my-api-key": "${MY_API_KEY}"}),
        ({"env": {"SETTING": KEY}}, "env", {"SETTING": "${SETTING}"}),
        ({"env": {"TOKEN": "${OTHER}"}}, "env", {"TOKEN": "${OTHER}"}),
        ({"env": {"TOKEN": "${env:OTHER}"}}, "env", {"TOKEN": "${OTHER}"}),
        ({"env": {"TOKEN": "${input:my-key}"}}, "env", {"TOKEN": "${MY_KEY}"}),
        ({"env": {"HOST": "db.example.com"}}, "env", {"HOST": "db.example.com"}),
        ({"args": ["--token", "abc", "-v"]}, "args", ("--token", "${S_TOKEN}", "-v")),
        ({"args": ["--api-key=abc"]}, "args", ("--api-key=${S_API_KEY}",)),
        ({"args": ["--port=8080", "/data/x"]}, "args", ("--port=8080", "/data/x")),
        ({"args": [KEY]}, "args", ("${S_ARGUMENT}",)),
    ],
)
def test_what_looks_secret_becomes_a_reference(tmp_path, entry, field, kept):
    server, replaced = one(tmp_path, command="server", **entry)
    assert getattr(server, field) == kept
    assert not any("abc" in line or KEY in line for line in replaced)
    changed = json.dumps(entry[field]) != json.dumps(getattr(server, field))
    assert bool(replaced) == (
        changed and "${env:" not in str(entry) and "${input" not in str(entry)
    )


def test_secrets_of_remote_servers_become_references(tmp_path):
    server, replaced = one(
        tmp_path,
        url=f"https://me:hunter22@x.test/mcp?api_key={KEY}&page=2",
        headers={"Authorization": f"Bearer {KEY}", "Accept-Language": "de"},
    )
    assert server.url == "https://me:${S_PASSWORD}@x.test/mcp?api_key=${S_API_KEY}&page=2"
    assert server.headers == {
        "Authorization": "Bearer ${S_AUTHORIZATION}",
        "Accept-Language": "de",
    }
    assert len(replaced) == 3
    assert not any(KEY in line or "hunter22" in line for line in replaced)


def test_files_beside_the_caller_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server.py").write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "bin").mkdir()
    server, _ = one(tmp_path, command="./bin/x", args=["server.py", "run", "gone.py", "--a.b"])
    assert server.command == str(tmp_path / "bin/x")
    assert server.args == (str(tmp_path / "server.py"), "run", "gone.py", "--a.b")
    with_folder, _ = one(tmp_path, command="./bin/x", args=["server.py"], cwd="/srv")
    assert (with_folder.command, with_folder.args) == ("./bin/x", ("server.py",))


def read(tmp_path, text, name="mcp.json"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_servers(str(path))


SERVER = '"s": {"command": "server", "args": ["-v"]}'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '// mine\n{/* all */ "mcpServers": {%s,},}'),
        ("a.json", '\ufeff{"mcpServers": {%s}}'),
        (".vscode/mcp.json", '{"servers": {%s}, "inputs": []}'),
        ("settings.json", '{"editor.x": 1, "mcp": {"servers": {%s}}}'),
        ("settings.json", '{"mcp.servers": {%s}}'),
        ("settings.json", '{"context_servers": {%s}}'),
        ("settings.json", '{"amp.mcpServers": {%s}}'),
        ("c.yaml", "mcpServers:\n- {name: s, command: server, args: [-v]}"),
        ("c.toml", '[mcp_servers.s]\ncommand = "server"\nargs = ["-v"]'),
    ],
)
def test_files_are_read_as_the_programs_that_write_them_do(tmp_path, name, text):
    found = read(tmp_path, text % SERVER if "%s" in text else text, name)
    ((server),) = found.servers
    assert (server.name, server.command, server.args) == ("s", "server", ("-v",))


def test_files_in_utf_16_are_read(tmp_path):
    text = json.dumps({"mcpServers": {"s": {"command": "server"}}})
    assert read(tmp_path, text.encode("utf-16")).servers[0].name == "s"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"serverUrl": "https://x.test/mcp"}, {"url": "https://x.test/mcp"}),
        ({"httpUrl": "https://x.test", "type": "streamable-http"}, {"url": "https://x.test"}),
        ({"type": "local", "command": ["srv", "-a"]}, {"command": "srv", "args": ("-a",)}),
        (
            {"command": {"path": "srv", "args": ["-a"], "env": {"N": 1}}},
            {"command": "srv", "args": ("-a",), "env": {"N": "1"}},
        ),
        (
            {"command": "srv", "env": {"A": 5, "B": True, "C": None}},
            {"env": {"A": "5", "B": "true"}},
        ),
        ({"command": "srv", "env_vars": ["LEVEL"]}, {"env": {"LEVEL": "${LEVEL}"}}),
        (
            {"url": "https://x.test", "bearer_token_env_var": "MINE"},
            {"headers": {"Authorization": "Bearer ${MINE}"}},
        ),
        ({"command": "srv", "args": ["$LEVEL", "{env:LEVEL}"]}, {"args": ("${LEVEL}",) * 2}),
        ({"command": "srv", "args": ["${NO_SUCH_LEVEL:-low}"]}, {"args": ("low",)}),
        ({"type": "http", "command": "srv", "url": "https://x.test"}, {"command": ""}),
        ({"command": "srv", "args": ["$word", "$", "a$B"]}, {"args": ("$word", "$", "a$B")}),
        ({"command": "srv", "cwd": "${WORKDIR}/a"}, {"cwd": "${WORKDIR}/a"}),
    ],
)
def test_fields_of_other_programs_are_ours(tmp_path, entry, expected):
    server, _ = one(tmp_path, **entry)
    assert {key: getattr(server, key) for key in expected} == expected


def test_references_to_the_workspace_and_files_of_variables(tmp_path):
    (tmp_path / ".env").write_text("export TOKEN=abc\nLEVEL=1\n# NOT=1\n")
    entry = {
        "command": "${workspaceFolder}/srv",
        "envFile": "${workspaceFolder}/.env",
        "env": {"LEVEL": "2", "KEY": "${input:my-key}"},
        "sandbox": True,
    }
    found = read(tmp_path, json.dumps({"servers": {"s": entry}}), ".vscode/mcp.json")
    assert found.servers[0].command == f"{tmp_path}/srv"
    assert found.servers[0].env == {"TOKEN": "${TOKEN}", "LEVEL": "2", "KEY": "${MY_KEY}"}
    notes = " ".join(found.notes)
    for part in ("unknown field 'sandbox'", "'my-key'; set MY_KEY", "envFile="):
        assert part in notes
    assert "abc" not in repr(found)
    text = json.dumps({"servers": {"s": {"command": "srv", "cwd": "sub"}}})
    assert read(tmp_path, text, ".vscode/mcp.json").servers[0].cwd == f"{tmp_path}/sub"


def test_a_server_that_cannot_be_used_is_left_out_by_name(tmp_path):
    servers = {
        "old": {"type": "sse", "url": "https://x"},
        "off": {"command": "x", "enabled": False},
        "text": "x",
        "good": {"command": "server"},
    }
    found = read_servers(write(tmp_path, servers))
    assert [server.name for server in found.servers] == ["good"]
    reasons = dict(found.skipped)
    assert set(reasons) == {"old", "off", "text"}
    assert "'sse' is not supported" in reasons["old"]


@pytest.mark.parametrize(
    "text",
    [
        "{" * 100_000,
        '{"mcpServers": {"a": {}, "a": {}}}',
        "// x\n{'a': 1, 'a': 2,}",
        "a: [",
        "\xff",
    ],
)
def test_files_that_cannot_be_read_are_refused_in_a_line(tmp_path, text):
    for name in ("m.json", "m.yaml"):
        (tmp_path / name).write_text(text, encoding="latin-1")
        assert refusal(str(tmp_path / name))


def test_wrong_files_are_refused(tmp_path):
    assert "there is no file 'nowhere.json'" in refusal("nowhere.json")
    (tmp_path / "t.json").write_text("{")
    assert "give a JSON file" in refusal(str(tmp_path / "t.json"))
    (tmp_path / "t.json").write_text("[]")
    assert "holds no MCP servers" in refusal(str(tmp_path / "t.json"))
    for entry, part in [
        ({"type": "sse", "url": "https://x"}, "'sse' is not supported"),
        ({"type": "pigeon", "url": "https://x"}, "type='pigeon' is unknown"),
        ({"comand": "x"}, "unknown field 'comand'"),
        ({"args": []}, "either a command"),
        ({"command": "x", "url": "https://x"}, "either a command"),
        ({"command": 5}, "command: Input should be a valid string"),
        ("x", "write a mapping"),
        ({"command": "${command:ask}"}, "known to the program that wrote it only"),
    ]:
        message = refusal(write(tmp_path, {"s": entry}))
        assert "server 's'" in message
        assert part in message
    assert "defines no MCP server" in refusal(
        write(tmp_path, {"s": {"command": "x", "disabled": True}})
    )

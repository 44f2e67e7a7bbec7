"""Definitions and answers of MCP servers: hidden secrets, effects, and how answers are shown."""

import json

import pytest
from mcp import MCPError
from mcp_types import CallToolResult, ToolAnnotations

from ste_ray.tools.mcp.listing import effect_of
from ste_ray.tools.mcp.results import call_result, error_result
from ste_ray.tools.mcp.servers import read_servers


def read(tmp_path, servers, key="mcpServers"):
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({key: servers}))
    return read_servers(str(path))


@pytest.mark.parametrize(
    ("entry", "secret", "expected"),
    [
        ({"env": {"API_KEY": "hunter2"}}, "hunter2", {"env": {"API_KEY": "${API_KEY}"}}),
        ({"env": {"W": "a1B2c3D4e5F6g7H8i9J0"}}, "a1B2c3", {"env": {"W": "${W}"}}),
        (
            {"env": {"DB": "postgres://me:hunter2@db/x?a=1"}},
            "hunter2",
            {"env": {"DB": "postgres://me:${S_PASSWORD}@db/x?a=1"}},
        ),
        (
            {"args": ["--token", "hunter2", "x"]},
            "hunter2",
            {"args": ["--token", "${S_TOKEN}", "x"]},
        ),
        ({"args": ["--api-key=hunter2"]}, "hunter2", {"args": ["--api-key=${S_API_KEY}"]}),
        (
            {"args": ["-e", "MY_TOKEN=hunter2"]},
            "hunter2",
            {"args": ["-e", "MY_TOKEN=${S_MY_TOKEN}"]},
        ),
        (
            {"args": ["--header", "Authorization: Bearer hunter2"]},
            "hunter2",
            {"args": ["--header", "Authorization: Bearer ${S_AUTHORIZATION}"]},
        ),
        (
            {"args": ["--header=X-Api-Key:hunter2"]},
            "hunter2",
            {"args": ["--header=X-Api-Key:${S_X_API_KEY}"]},
        ),
        (
            {"args": ["postgres://me:hunter2@db/x"]},
            "hunter2",
            {"args": ["postgres://me:${S_PASSWORD}@db/x"]},
        ),
        (
            {"args": ["https://x.com/mcp?lang=en&key=hunter2#top"]},
            "hunter2",
            {"args": ["https://x.com/mcp?lang=en&key=${S_KEY}#top"]},
        ),
    ],
)
def test_secrets_that_are_written_out_are_replaced(tmp_path, entry, secret, expected):
    found = read(tmp_path, {"s": {"command": "/bin/x", **entry}})
    kept = found.servers[0].model_dump(mode="json")
    assert {name: kept[name] for name in expected} == expected
    assert len(found.replaced) == 1
    assert secret not in json.dumps([kept, found.replaced])


def test_what_is_no_secret_stays_and_references_become_ours(tmp_path):
    entry = {
        "command": "/bin/x",
        "args": ["-y", "@scope/server-everything@1.2.3", "C:/data", "https://x.com:8080/a?b=c"],
        "env": {
            "A_KEY": "${env:MY_KEY}",
            "B_KEY": "${input:my-key}",
            "C_KEY": "${MINE}",
            "DEBUG": "1",
            "MAX_TOKENS": "4096",
            "USE_AUTH": "true",
        },
    }
    found = read(tmp_path, {"s": entry})
    assert found.servers[0].args == tuple(entry["args"])
    assert found.servers[0].env == {
        "A_KEY": "${MY_KEY}",
        "B_KEY": "${MY_KEY}",
        "C_KEY": "${MINE}",
        "DEBUG": "1",
        "MAX_TOKENS": "4096",
        "USE_AUTH": "true",
    }
    assert found.replaced == []


def test_two_servers_with_different_secrets_of_one_name_keep_them_apart(tmp_path):
    entries = {
        name: {"command": "/bin/x", "env": {"TOKEN": value}}
        for name, value in {"a": "first", "b": "second", "c": "first"}.items()
    }
    servers = read(tmp_path, entries).servers
    assert [one.env["TOKEN"] for one in servers] == ["${TOKEN}", "${B_TOKEN}", "${TOKEN}"]


@pytest.mark.parametrize(
    ("hints", "effect"),
    [
        (None, "unknown"),
        ({}, "unknown"),
        ({"title": "T"}, "unknown"),
        ({"read_only_hint": True, "destructive_hint": True}, "read_only"),
        ({"read_only_hint": False}, "destructive"),
        ({"idempotent_hint": True}, "destructive"),
        ({"destructive_hint": False}, "writes"),
        ({"destructive_hint": False, "idempotent_hint": True}, "idempotent"),
    ],
)
def test_annotations_say_what_a_tool_does(hints, effect):
    assert effect_of(None if hints is None else ToolAnnotations(**hints)) == effect


def answer(*content, **fields):
    return CallToolResult.model_validate({"content": list(content), **fields})


def text(value):
    return {"type": "text", "text": value}


def test_parts_of_an_answer_stand_one_below_the_other():
    result = call_result(
        answer(
            text("a"),
            {"type": "image", "mimeType": "image/png", "data": "AAAA" * 10},
            {"type": "resource_link", "name": "n", "uri": "file:///x"},
            {"type": "resource", "resource": {"uri": "file:///y", "text": "within"}},
            text("z"),
        ),
        1000,
        0.1,
    )
    assert result.text.split("\n") == [
        "a",
        "[image image/png, 30 bytes]",
        "[resource file:///x]",
        "[resource file:///y]",
        "within",
        "z",
    ]
    assert result.status == "ok"


@pytest.mark.parametrize(
    ("content", "structured", "expected"),
    [
        ([], {"a": "ü"}, '{"a": "ü"}'),
        ([text('{"a":  1}')], {"a": 1}, '{"a":  1}'),
        ([text("5")], {"result": 5}, "5"),
        ([text("five")], {"result": "five"}, "five"),
        ([text("It is warm.")], {"degrees": 30}, 'It is warm.\n{"degrees": 30}'),
        ([], None, ""),
    ],
)
def test_structured_content_is_shown_unless_a_text_says_the_same(content, structured, expected):
    result = call_result(answer(*content, structuredContent=structured), 1000, 0.1)
    assert result.text == expected


def test_what_is_an_error_and_what_a_timeout():
    assert call_result(answer(text("no"), isError=True), 100, 0.1).status == "error"
    refused = error_result(MCPError(-32602, "x" * 1000), 3.0, 50, 0.1)
    assert refused.status == "error"
    assert refused.text.startswith("MCP error -32602: xxx")
    assert len(refused.text) < 100
    late = error_result(MCPError(-32001, "whatever"), 3.0, 50, 0.1)
    assert (late.status, late.text) == ("timeout", "the tool did not answer within 3 seconds")

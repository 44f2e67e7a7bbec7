"""What MCP servers answer in ways of their own is answered at once, and spoils nothing else."""

import asyncio
import json

import pytest
from mcp_types import ListToolsResult
from mcp_types.methods import validate_server_result

from ste_ray.errors import ToolSpecError
from ste_ray.tools.mcp.listing import list_servers
from ste_ray.tools.mcp.messages import mended, read_message
from ste_ray.tools.run.secrets import Secrets
from tests.contracts.mcp_calls import calls, raw, spec

HEAD = '{"jsonrpc": "2.0", "id": @, '
TIMEOUT = 20.0  # far more than any answer takes; a call that is waited out ends as a timeout


def asked(text, tool="raw"):
    """Ask a server that runs: how long it takes to start is of no account here."""
    server = raw()
    odd = (spec(tool, server, timeout_seconds=TIMEOUT), {"text": text})
    return calls((spec("echo", server), {"text": "a"}), odd)[1]


@pytest.mark.parametrize(
    ("line", "status", "expected"),
    [
        (HEAD + r'"result": {"content": [{"type": "text", "text": "a\ud800b"}]}}', "ok", "a?b"),
        (HEAD + r'"result": {"content": [{"type": "text", "text": "\ud83d\ude00"}]}}', "ok", "😀"),
        (HEAD + '"result": {"content": [{"type": "text", "text": "\xff"}]}}', "ok", "\ufffd"),
        (HEAD + '"result": {"content": null, "isError": null, "_meta": null}}', "ok", ""),
        (HEAD + '"result": {"content": [null, {"type": "text", "text": null}]}}', "ok", ""),
        (HEAD + '"result": {"content": "plain"}}', "ok", "plain"),
        (HEAD + '"result": {"content": [{"type": "text", "text": 5}, "x"]}}', "ok", "5\nx"),
        (
            HEAD + '"result": {"content": [], "structuredContent": {"a": NaN}}}',
            "ok",
            '{"a": NaN}',
        ),
        (HEAD + '"error": null, "result": {"content": []}}', "ok", ""),
        (
            HEAD + '"result": {"content": [{"type": "video"}, {"type": "image"}, '
            '{"type": "text", "text": "x"}, {"type": "resource", "resource": null}, 7]}}',
            "ok",
            "[video]\n[image None, 0 bytes]\nx\n[resource]\n7",
        ),
        ("[" + HEAD + '"result": {"content": "in a batch"}}]', "ok", "in a batch"),
        ('{"id": @, "result": {"content": [{"type": "text", "text": "x"}]}}', "ok", "x"),
        (HEAD + '"result": null}', "error", "the answer cannot be used: content: Field required"),
        (HEAD + '"result": "text"}', "error", "no JSON-RPC response"),
        (HEAD + '"error": "out of order"}', "error", "MCP error -32603: out of order"),
        (HEAD + '"error": {"code": -32000, "message": "busy"}}', "error", "MCP error -32603: busy"),
        (HEAD + '"result": {"content": [}', "error", "the answer cannot be read: it is no JSON"),
        (HEAD + '"result": {"content": 7}}', "error", "the answer cannot be used: content"),
    ],
)
def test_an_odd_answer_is_answered_at_once(line, status, expected):
    result = asked(line)
    assert result.status == status, result.text
    if status == "ok":
        assert result.text == expected
    else:
        assert expected in result.text
    assert result.seconds < TIMEOUT / 2


def test_deep_nesting_is_an_error_at_once():
    for result in (asked("", "deep"), asked(HEAD + '"result": ' + "[" * 300 + "]" * 300 + "}")):
        assert result.status == "error"
        assert "nested" in result.text
        assert result.seconds < TIMEOUT / 2


def test_lines_that_are_no_messages_keep_no_answer_from_whoever_waits():
    lines = "warning: {x\n[1, 2]\nnull\n" + HEAD + '"result": {"content": "yes"}}'
    assert asked(lines).text == "yes"


def test_a_server_that_says_little_of_itself_is_taken():
    said = '{"jsonrpc": "2.0", "id": 0, "result": {"protocolVersion": "2025-06-18", "serverInfo": '
    for rest in ("null}}", '{"name": "s", "version": "1"}, "capabilities": null}}'):
        message = read_message(said + rest, lambda *_: None)
        validate_server_result("initialize", "2025-06-18", message.result)
        assert message.result["serverInfo"]["name"] in ("", "s")


def test_the_session_lives_on_after_odd_answers():
    odd, usual = calls(
        (spec("raw", raw(), timeout_seconds=TIMEOUT), {"text": HEAD + '"result": [}'}),
        (spec("echo", raw()), {"text": "a"}),
    )
    assert (odd.status, usual.text) == ("error", "a")


def test_odd_tools_are_left_out_by_name_and_the_others_stay():
    found = asyncio.run(list_servers([raw("odd_list")], Secrets({})))
    by_name = {one.name: one for one in found.specs}
    assert set(by_name) == {"a<b", "odd?", "no_schema", "odd_rest", "script", "halves"}
    assert by_name["script"].parameters["properties"] == {"a": {"items": {"type": "string"}}}
    (note,) = found.notes
    assert note.startswith("script: not checked, because it is no Python expression: ")
    assert r"'^\\p{L}+$'" in note
    assert by_name["halves"].description == "a?b"
    assert by_name["no_schema"].description == "no_schema"
    assert by_name["odd_rest"].parameters == {"type": "object", "properties": {}}
    skipped = dict(found.skipped)
    assert skipped["raw: tool 1"] == "the server lists it with the name None"
    assert "'none', not an object" in skipped["raw: text_schema"]
    assert "parameters.type" in skipped["odd_type"]
    assert len(skipped) == 5


def test_a_server_that_cannot_be_used_is_left_out_by_name():
    dead = raw("dies").model_copy(update={"name": "dead"})
    found = asyncio.run(list_servers([dead, raw()], Secrets({})))
    assert len(found.specs) == 12
    ((name, reason),) = found.skipped
    assert name == "dead"
    assert "cannot find my configuration" in reason
    with pytest.raises(ToolSpecError, match="'dead' cannot be used"):
        asyncio.run(list_servers([dead], Secrets({})))


def test_messages_over_http_are_mended_alike():
    skipped = []
    tools = [{"name": "good"}, {"name": 5}]
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}})
    message = json.loads(mended(line, lambda *one: skipped.append(one)))
    assert [one["name"] for one in message["result"]["tools"]] == ["good"]
    assert skipped == [("tool 2", "the server lists it with the name 5")]
    assert mended("no message", lambda *_: None) == "no message"


TOOL = {
    "name": "odd",
    "title": "t",
    "description": "d",
    "inputSchema": {
        "type": "object",
        "properties": {"x": {"type": "string", "enum": ["a"]}},
        "required": ["x"],
        "$defs": {"A": {"anyOf": [{"type": "string"}]}},
    },
    "outputSchema": {"type": "object", "properties": {}},
    "annotations": {"title": "x", "readOnlyHint": True},
    "icons": [{"src": "https://x.test/y"}],
    "_meta": {"a": 1},
    "execution": {"taskSupport": "optional"},
}
JUNK = [None, True, -1.5, "", [], [None], {"a": None}, {"$ref": 5}, {"type": [None]}, "\ud800"]


def places(node, path=()):
    yield path
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from places(child, (*path, key))


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_whatever_is_wrong_with_a_tool_the_next_one_is_listed(junk):
    for path in places(TOOL):
        listed = [json.loads(json.dumps(TOOL)), {"name": "good", "inputSchema": {}}]
        holder, key = listed, 0
        for step in path:
            holder, key = holder[key], step
        holder[key] = junk
        result = {"tools": listed, "nextCursor": None if path else junk}
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result})
        message = read_message(line, lambda *_: None)
        validate_server_result("tools/list", "2025-11-25", message.result)
        found = ListToolsResult.model_validate(message.result, by_name=False)
        assert found.tools[-1].name == "good"

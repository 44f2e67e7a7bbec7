"""An MCP server over stdio, by hand and in the standard library, whose answers are bulky.

Arguments: ``many_tools`` lists very many tools.
"""

import json
import sys

TEXT = '{"type": "text", "text": "x"}'
RESULTS = {
    "parts": '{"content": [' + ",".join([TEXT] * 300_000) + "]}",
    "structured": '{"content": [], "structuredContent": {"rows": ['
    + ",".join(["[]"] * 1_000_000)
    + "]}}",
    "escaped": '{"content": [{"type": "text", "text": "'
    + "\\u005b\\u005d\\u002c" * 300_000
    + '"}], "structuredContent": {"a": [1]}}',
    "deep": '{"content": [], "structuredContent": {"a": ' + "[" * 200_000 + "]" * 200_000 + "}}",
    "hidden": '{"c\\u006fntent": [' + ",".join([TEXT] * 300_000) + "]}",
    "error": '{"isError": true, "content": [' + ",".join([TEXT] * 20_000) + "]}",
    "small": '{"content": [' + TEXT + "]}",
}


def listed():
    names = [f"t{i}" for i in range(100_000)] if "many_tools" in sys.argv else list(RESULTS)
    return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]}


def result(message):
    method, parameters = message["method"], message.get("params", {})
    if method == "initialize":
        info = {"name": "bulky", "version": "1"}
        version = parameters["protocolVersion"]
        return json.dumps(
            {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
        )
    if method == "tools/list":
        return json.dumps(listed())
    return RESULTS[parameters["name"]]


def answered(asked):
    """The line that answers a request; None: it is a notification."""
    if "id" not in asked:
        return None
    if asked["method"] in ("initialize", "tools/list", "tools/call"):
        head = f'{{"jsonrpc": "2.0", "id": {json.dumps(asked["id"])}, "result": '
        return f"{head}{result(asked)}}}"
    error = {"code": -32601, "message": "no such method"}
    return json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error})


def main():
    for line in sys.stdin:
        text = answered(json.loads(line))
        if text is not None:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

"""An MCP server over stdio, by hand and in the standard library, that misbehaves when asked to.

Arguments: ``stubborn`` ignores the end of its input and SIGTERM; ``pages=N`` lists its tools on N
pages; ``loop`` gives the same cursor for ever; ``silent`` never answers; ``dies`` ends at once;
``odd_list`` lists things that are no tools among some that are; ``no_list`` never lists its tools.
The tool ``raw`` answers with the bytes it is told, ``deep`` with as many brackets.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

OPTIONS = set(sys.argv[1:])
PAGES = next((int(one[6:]) for one in OPTIONS if one.startswith("pages=")), 1)
NAMES = ["echo", "pid", "variables", "die", "die_once", "hang", "big", "garbage", "wrong", "refuse"]
NAMES += ["note", f"weather {chr(0xFC)}"]
NOTES = []
CANCELLED = []


def send(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def tool(name):
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}
    schema["properties"] = {"text": {"type": "string"}}
    found = {"name": name, "inputSchema": schema}
    if name == "echo":
        found["annotations"] = {"readOnlyHint": True}
        found["description"] = "Repeats a text."
        found["inputSchema"]["required"] = ["text", "no such property"]
    return found


def list_tools(parameters):
    page = int(parameters.get("cursor", 0))
    size = -(-len(NAMES) // PAGES)
    result = {"tools": [tool(name) for name in NAMES[page * size : (page + 1) * size]]}
    if "loop" in OPTIONS:
        result["nextCursor"] = "0"
    elif page + 1 < PAGES:
        result["nextCursor"] = str(page + 1)
    return result


def print_bytes(text):
    sys.stdout.buffer.write(b"\xff\xfe\n" + b"y" * 100_000 + b"\n\r\n")
    return text


def flood(_):
    while True:
        sys.stdout.write("z" * 1_000_000)


def write_file(text):
    path = Path("written.txt")
    path.write_text((path.read_text() if path.exists() else "") + text)
    return path.read_text()


TEXTS = {
    "pid": lambda _: str(os.getpid()),
    "big": lambda _: "x" * 5_000_000,
    "bytes": print_bytes,
    "flood": flood,
    "write": write_file,
    "cancelled": lambda _: json.dumps(CANCELLED),
}


def call(name, arguments):
    text = arguments.get("text", "")
    if name == "variables":
        text = json.dumps({"env": dict(os.environ), "argv": sys.argv[1:], "cwd": os.getcwd()})
    if name == "deaf":
        time.sleep(600)
    if name == "die":
        sys.stderr.write("dying words\n")
        sys.stderr.flush()
        os._exit(3)
    if name == "die_once" and not os.path.exists(text):
        open(text, "w").close()
        os._exit(3)
    if name == "garbage":
        sys.stdout.write("this is no message\n\x00\xff{}\n")
    if name == "wrong":
        return {"content": [{"type": "no such type", "text": 7}]}
    if name == "refuse":
        return {"content": [{"type": "text", "text": "no"}], "isError": True}
    if name in TEXTS:
        text = TEXTS[name](text)
    if name == "note":
        NOTES.append(text)
        text = json.dumps(NOTES)
    return {"content": [{"type": "text", "text": text}]}


def answer(message):
    method, parameters = message.get("method"), message.get("params", {})
    if method == "initialize":
        version = parameters["protocolVersion"]
        info = {"name": "raw", "version": "1"}
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return {"tools": ODD_TOOLS} if "odd_list" in OPTIONS else list_tools(parameters)
    if method == "tools/call":
        return call(parameters["name"], parameters.get("arguments") or {})
    return None


ODD_TOOLS = [
    {"no": "tool"},
    None,
    {"name": None, "inputSchema": {"type": "object"}},
    {"name": "odd\ud800", "inputSchema": {"type": "object"}},
    {"name": "a<b", "inputSchema": {"type": "object"}},
    {"name": "text_schema", "inputSchema": "none"},
    {"name": "odd_type", "inputSchema": {"type": 5}},
    {"name": "no_schema", "description": None, "title": None, "annotations": None},
    {"name": "odd_rest", "inputSchema": {"properties": None}, "icons": 5, "outputSchema": []},
    {
        "name": "script",
        "inputSchema": {"properties": {"a": {"items": {"type": "string", "pattern": "^\\p{L}+$"}}}},
    },
    {"name": "halves", "description": "a\ud800b", "inputSchema": {"type": "object"}},
]


def write_raw(message):
    text = message["params"]["arguments"]["text"]
    if message["params"]["name"] == "deep":
        text = '{"jsonrpc": "2.0", "id": @, "result": {"structuredContent": '
        text += "[" * 100_000 + "]" * 100_000 + "}}"
    line = text.replace("@", str(message["id"])).encode("latin-1")
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def handle(message):
    if message.get("params", {}).get("name") in ("raw", "deep"):
        write_raw(message)
        return
    if message.get("params", {}).get("name") == "hang":
        return
    if message.get("method") == "notifications/cancelled":
        CANCELLED.append(message["params"]["requestId"])
    if message.get("method") == "tools/list" and "no_list" in OPTIONS:
        return
    result = answer(message)
    if "id" not in message:
        return
    if result is None:
        error = {"code": -32601, "message": "no such method"}
        send({"jsonrpc": "2.0", "id": message["id"], "error": error})
    else:
        send({"jsonrpc": "2.0", "id": message["id"], "result": result})


def main():
    if "dies" in OPTIONS:
        sys.stderr.write("cannot find my configuration\n")
        sys.exit(4)
    if "stubborn" in OPTIONS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        if "silent" not in OPTIONS:
            handle(json.loads(line))
    while "stubborn" in OPTIONS:
        time.sleep(1)


if __name__ == "__main__":
    threading.Thread(target=lambda: None).start()
    main()

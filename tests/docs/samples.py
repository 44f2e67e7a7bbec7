"""What a user would have at hand: the files that the commands of the documents name."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.docs.blocks import ROOT, all_blocks
from tests.gguf_models import save_gguf

_TOOLS = ["add_date", "unit_convert", "roman_encode"]
_SMALL: dict[str, Any] = {
    "tools": {"include": _TOOLS},
    "explore": {"episodes_per_tool": 2, "trials_per_episode": 3},
    "prepare": {
        "target_per_tool": 8,
        "max_paraphrases": 1,
        "mix": {"rounds": [[one] for one in _TOOLS]},
    },
    "retrieve": {"num_tools": 3, "num_demonstrations": 2},
    "train": {"max_steps": 2, "examples_per_step": 4, "max_tokens": 512, "num_workers": 1},
    "infer": {"max_new_tokens": 64},
}
_SERVER = '''"""An MCP server over stdio with one tool."""

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("sums")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


server.run()
'''
_OPENAPI = {
    "openapi": "3.1.0",
    "info": {"title": "Weather", "version": "1"},
    "servers": [{"url": "https://api.example.com"}],
    "paths": {
        "/v1/cities/{city}/now": {
            "get": {
                "operationId": "weather_now",
                "summary": "Tells the weather of a city now.",
                "parameters": [
                    {"name": "city", "in": "path", "required": True, "schema": {"type": "string"}}
                ],
                "responses": {"200": {"description": "the weather"}},
            }
        }
    },
}
_WEATHER = {"current": {"temp_c": 4.5, "condition": {"text": "Cloudy"}}}
_TOOLBENCH = {
    "tool_name": "Tides",
    "tool_description": "All about tides.",
    "title": "Tides",
    "host": "tides.p.rapidapi.com",
    "standardized_name": "tides",
    "api_list": [
        {
            "name": "By port",
            "url": "https://tides.p.rapidapi.com/tides",
            "description": "Lists the tides of a port.",
            "method": "GET",
            "required_parameters": [
                {"name": "port", "type": "STRING", "description": "where", "default": "Oslo"}
            ],
            "optional_parameters": [],
        }
    ],
}
_DESCRIBED = json.dumps(
    {
        "description": "Lists the tides.",
        "required_parameters": _TOOLBENCH["api_list"][0]["required_parameters"],  # type: ignore[index]
        "optional_parameters": [],
        "parent_tool_name": "Tides",
        "parent_tool_description": "All about tides.",
    }
)
_CALL = 'Action: add_tax\nAction Input: {"net": 100}'


def write_samples(folder: Path, service: str) -> None:
    """Write the files into ``folder``; ``service`` is the host and port of ``weather_service``."""
    for block in all_blocks():
        name = block.words.rpartition(" ")[2]
        if (block.mark == "check" and "/" in name) or name.endswith(".yaml"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(block.text, encoding="utf-8")
    tools = folder / "my_tools.yaml"
    text = tools.read_text(encoding="utf-8").replace("https://api.example.com", f"http://{service}")
    tools.write_text(f"allow_hosts: ['{service}']\n{text}", encoding="utf-8")
    (folder / "server.py").write_text(_SERVER, encoding="utf-8")
    entry = {"command": sys.executable, "args": [str(folder / "server.py")]}
    _write(folder / "mcp.json", {"mcpServers": {"sums": entry}})
    (folder / "toolenv/tools/Weather").mkdir(parents=True)
    _write(folder / "toolenv/tools/Weather/tides.json", _TOOLBENCH)
    _write(folder / "API_descriptions.json", {"Tides%%By port": _DESCRIBED})
    _write(folder / "tool_data.json", [_study_row(number) for number in range(12)])
    _write(folder / "saved.json", {"add_tax": [_saved_row()]})
    lines = [
        {"query": f"Add tax to {net}", "tool": "add_tax", "arguments": {"net": net}}
        for net in (5, 80)
    ]
    _write_lines(folder / "my_tests.jsonl", lines)
    save_gguf(folder / "my_model.gguf")
    _write_lines(folder / "mine.jsonl", [{**lines[0], "model_output": _CALL}])


def write_small_jobs(folder: Path) -> None:
    """Copy ``jobs/`` with the configurations at the smallest sizes, all else as it is."""
    folder.mkdir()
    for file in (ROOT / "jobs").iterdir():
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        if file.suffix == ".yaml":
            text = yaml.safe_dump(_merged(yaml.safe_load(text), _SMALL))
        if text:
            (folder / file.name).write_text(text, encoding="utf-8")


@contextmanager
def weather_service() -> Iterator[str]:
    """Serve an OpenAPI document and the weather; gives host and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(_OPENAPI if self.path == "/openapi.json" else _WEATHER).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _study_row(number: int) -> dict[str, Any]:
    return {
        "query": f"What is {number + 5} with tax?",
        "API_name_list": ["add_tax"],
        "api_descriptions": "API_name: add_tax\nDescription: Adds a tax.",
        "action": "add_tax",
        "action_input": json.dumps({"net": number + 5}),
        "observation": str((number + 5) * 1.25),
        "final_ans": f"It is {(number + 5) * 1.25}.",
    }


def _saved_row() -> dict[str, Any]:
    return {
        "query": "Add tax to 100",
        "action": "add_tax",
        "action_input": json.dumps({"net": 100}),
        "model_output": _CALL,
        "no_call": 0,
        "err": 0,
        "api_match": 1,
        "args_correct": 1,
    }


def _merged(base: dict[str, Any], small: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in small.items():
        known = merged.get(key)
        merged[key] = _merged(known, value) if isinstance(known, dict) else value
    return merged


def _write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value), encoding="utf-8")


def _write_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

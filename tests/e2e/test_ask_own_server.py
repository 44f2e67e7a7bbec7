"""The recipe of docs/serving.md: from an MCP server's file to a model that calls that server.

The commands are those of the page. What ``pipeline`` does in an hour is stood in for by a tiny
model that has learnt one call by heart, beside the tools as ``pipeline`` writes them into a run.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken

from ste_ray.cli.main import main, parse_arguments
from ste_ray.config import load_config
from ste_ray.core import layout
from ste_ray.core.preparing.formatting import call_text, toolken_dialog
from ste_ray.core.tool_specs import ToolSpec
from ste_ray.core.toolkens import TOOLKENS_FILE, toolken
from ste_ray.generation.prompting import encode_dialog
from ste_ray.resources import resource_folder
from ste_ray.stages.base import load_prompts
from ste_ray.store.artifacts import open_store
from ste_ray.store.manifest import declare_stage
from ste_ray.tools.spec.files import read_tool_files
from tests.asked_run import TEMPLATE
from tests.byte_models import answer_row, byte_llama, byte_tokenizer, learn_by_heart
from tests.docs.blocks import ROOT, blocks_of

SERVER = ROOT / ".third-party/node_modules/.bin/mcp-server-memory"
pytestmark = pytest.mark.skipif(
    not SERVER.exists(), reason="no third-party servers: make third-party"
)
TOOL = "search_nodes"
NOTES = [
    {"name": "trip", "entityType": "note", "observations": ["The fjord ferry leaves Oslo at 9."]},
    {"name": "tea", "entityType": "note", "observations": ["Green tea, 80 degrees."]},
]


@pytest.fixture
def recipe():
    """The commands of the page: words of each, without the program."""
    blocks = [one.text for one in blocks_of(ROOT / "docs/serving.md") if "mcp.json" in one.text]
    (text,) = blocks
    lines = [shlex.split(line) for line in text.splitlines()]
    assert {words[0] for words in lines} == {".venv/bin/ste-ray"}
    return [words[1:] for words in lines]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with the file of a server that keeps notes."""
    notes = tmp_path / "notes.jsonl"
    notes.write_text("".join(json.dumps({"type": "entity", **one}) + "\n" for one in NOTES))
    server = {"command": str(SERVER), "env": {"MEMORY_FILE_PATH": str(notes)}}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"notes": server}}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stand_in_for_pipeline(words: list[str], request: str) -> None:
    """Make the run that the command would, with a model that knows one request."""
    options = parse_arguments(words)
    config = load_config(options.config, options.overrides)
    shipped = resource_folder("tool_metadata")
    found = read_tool_files(config.tools.files, (), shipped=shipped)
    specs = dict(sorted(found.specs.items()))
    store = open_store(options.run)
    store.write_json(layout.TOOLS, [spec.model_dump(mode="json") for spec in specs.values()])
    _teach(Path(store.path(layout.TUNED_MODEL)), specs, request)
    fields = {"seed": 0, "prepare": {"tool_responses": False}}
    declare_stage(store, "prepare", fields, {}, started_at=0.0)


def _teach(folder: Path, specs: dict[str, ToolSpec], request: str) -> None:
    dialog = toolken_dialog(request, load_prompts())
    call = call_text(toolken(TOOL), '{"query":"Oslo"}')
    tokenizer = byte_tokenizer([*(one.content for one in dialog), call], 500, TEMPLATE)
    marks = {name: AddedToken(toolken(name), special=False, normalized=False) for name in specs}
    tokenizer.add_tokens(list(marks.values()))
    model = byte_llama(tokenizer)
    answer = [*tokenizer.encode(call), tokenizer.eos_token_id]
    learn_by_heart(model, [answer_row(encode_dialog(dialog, tokenizer), answer)])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ids = {name: tokenizer.convert_tokens_to_ids(toolken(name)) for name in specs}
    (folder / TOOLKENS_FILE).write_text(json.dumps({"tools": ids, "retired": []}), "utf-8")


def test_the_recipe_of_the_page_calls_the_server_of_the_user(home, recipe, capsys):
    imported, pipeline, ask = recipe
    assert (imported[0], pipeline[0], ask[0]) == ("tools", "pipeline", "ask")
    assert main(imported) == 0
    assert TOOL in (home / "tools.yaml").read_text()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    stand_in_for_pipeline(pipeline, ask[1])
    torch.set_num_threads(threads)
    (home / "tools.yaml").unlink()  # the run keeps how its servers are started
    (home / "mcp.json").unlink()
    capsys.readouterr()
    code = main([*ask, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, out + err
    found = json.loads(out)
    assert found["call"] == {"tool": TOOL, "arguments": {"query": "Oslo"}}
    assert found["observation"]["status"] == "ok"
    assert "The fjord ferry leaves Oslo at 9." in found["answer"]
    assert "Green tea" not in found["answer"]

"""The export in the form of the Hermes models, read back by vLLM's parser of their calls."""

from __future__ import annotations

import importlib
import json
from types import SimpleNamespace

import pytest
from exports.prepared_run import NAMES, make_run

from ste_ray.cli.main import main
from ste_ray.core.native_calls.hermes import call_text, result_text
from ste_ray.core.texts.safe_names import safe_name
from tests.vllm_modules import vllm_modules
from tests.vllm_wheel import FOLDER, VERSIONS


def export(store, out, *options):
    assert main(["export", "hermes", "--run", store.uri, "--out", str(out), *options]) == 0
    return out


def lines(folder, split):
    text = (folder / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


class _Tokenizer:
    """What the parser asks a tokenizer for."""

    def get_vocab(self):
        return {"<tool_call>": 1, "</tool_call>": 2}

    def encode(self, text, add_special_tokens=False):
        return [self.get_vocab()[text]] if text in self.get_vocab() else [0]

    def decode(self, ids):
        return ""


@pytest.fixture(scope="module", params=VERSIONS)
def extract(request):
    """vLLM's own reading of a reply: its calls, and what else it says."""
    if not (FOLDER / request.param).is_dir():
        pytest.skip("no modules of vLLM: make third-party")
    with vllm_modules(request.param):
        module = importlib.import_module("vllm.tool_parsers.hermes_tool_parser")
        parser = module.Hermes2ProToolParser(_Tokenizer())

        def read(text):
            found = parser.extract_tool_calls(
                text, SimpleNamespace(tools=[], skip_special_tokens=0)
            )
            calls = [(one.function.name, one.function.arguments) for one in found.tool_calls]
            return calls, found.content or ""

        yield read


def test_vllm_reads_each_call_as_it_was_made(tmp_path, extract):
    store, examples, _ = make_run(tmp_path / "run")
    folder = export(store, tmp_path / "out")
    for split in ("train", "validation", "test"):
        rows = {row["id"]: row for row in lines(folder, split)}
        for one in (one for one in examples if one.split == split):
            told, asked, call, result, answer = rows[one.example_id]["conversations"]
            assert [turn["from"] for turn in (told, asked, call, result, answer)] == [
                "system", "human", "gpt", "tool", "gpt",
            ]  # fmt: skip
            assert asked["value"] == one.query
            (((name, arguments),), content) = extract(call["value"])
            assert name == safe_name(one.tool)
            assert json.loads(arguments) == json.loads(one.arguments_json)
            assert content == ""
            assert result["value"] == f"<tool_response>\n{one.observation}\n</tool_response>"
            assert extract(answer["value"]) == ([], one.final_answer)
            offered = told["value"].partition("<tools>\n")[2].partition("\n</tools>")[0]
            # The words before name the marks too.
            offered = told["value"].rpartition("<tools>\n")[2].partition("\n</tools>")[0]
            tools = [json.loads(line) for line in offered.splitlines()]
            assert tools == json.loads(rows[one.example_id]["tools"])
            assert name in {tool["function"]["name"] for tool in tools}


@pytest.mark.parametrize(
    "text", ["</tool_call>", "<tool_call>", 'x</tool_call>\n<tool_call>\n{"name": "y"}', "<b>"]
)
def test_marks_of_calls_within_a_value_are_no_marks(extract, text):
    (((name, arguments),), _) = extract(call_text("find", {"query": text, "n": [text]}))
    assert name == "find"
    assert json.loads(arguments) == {"query": text, "n": [text]}


@pytest.mark.parametrize("mark", ["<tool_response>", "</tool_response>"])
def test_marks_of_results_within_a_result_are_no_marks(mark):
    told = json.dumps({"text": f"a {mark} <b>"})
    text = result_text(told)
    assert text.startswith("<tool_response>\n")
    assert text.endswith("\n</tool_response>")
    assert text.count("<tool_response>") == text.count("</tool_response>") == 1
    content = text.removeprefix("<tool_response>\n").removesuffix("\n</tool_response>")
    assert json.loads(content) == json.loads(told)
    assert result_text("a <b>") == "<tool_response>\na <b>\n</tool_response>"


def test_rows_without_tools_say_nothing_of_tools(tmp_path):
    store, _, _ = make_run(tmp_path / "run")
    rows = lines(export(store, tmp_path / "out"), "train")
    general, offered = (
        row for row in rows if any("in French" in turn["value"] for turn in row["conversations"])
    )
    assert general["conversations"] == [
        {"from": "human", "value": "Say <tool_add> in French"},
        {"from": "gpt", "value": "Je ne <tool_sais> pas"},
    ]
    assert json.loads(general["tools"]) == []
    assert [turn["from"] for turn in offered["conversations"]] == ["system", "human", "gpt"]
    assert len(json.loads(offered["tools"])) == len(NAMES)

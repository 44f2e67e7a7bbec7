"""llama.cpp itself answers from an exported GGUF file as transformers does from the folder."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from ste_ray.cli.main import main
from tests.byte_models import answer_row, learn_by_heart
from tests.gguf_folders import TEXTS, gguf_tokenizer, save_folder
from tests.gguf_models import CHAT_TEMPLATE

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".third-party/llama-cpp/node_modules"
LIBRARY, BINARY = MODULES / "node-llama-cpp", MODULES / "@node-llama-cpp/linux-x64"
pytestmark = pytest.mark.skipif(
    not (BINARY.exists() and shutil.which("node")), reason="no llama.cpp: make third-party"
)
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def asked(file, texts, max_tokens=12):
    command = ["node", ROOT / "tests/llama_cpp.mjs", LIBRARY, file, str(max_tokens)]
    done = subprocess.run(
        command, input=json.dumps(texts), capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def exported(folder, kind="auto"):
    file = folder.with_suffix(".gguf")
    assert main(["export", "gguf", "--model", str(folder), "--out", str(file), "--type", kind]) == 0
    return file


def assert_answers_alike(model, tokenizer, answers):
    for text, answer in zip(TEXTS, answers, strict=True):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        assert answer["prompt"] == ids[0].tolist()
        with torch.no_grad():
            expected = model(ids).logits[0, -1].softmax(-1)
            said = model.generate(ids, max_new_tokens=12)[0, ids.shape[1] :].tolist()
        found = torch.zeros_like(expected)
        for number, probability in answer["probabilities"]:
            found[number] = probability
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
        assert answer["ids"] == said
        assert answer["template"] == CHAT_TEMPLATE


@pytest.mark.parametrize(
    ("kind", "rules", "values"),
    [
        ("llama", "smollm", {}),
        ("llama", "llama-bpe", {"rope_parameters": LLAMA3, "attention_bias": True}),
        ("llama", "dbrx", {"head_dim": 32, "tie_word_embeddings": False}),
        ("mistral", "tekken", {}),
        ("qwen2", "qwen2", {}),
        ("qwen3", "gpt-2", {"head_dim": 32}),
    ],
)
def test_tokens_chances_and_answers_are_those_of_the_folder(tmp_path, kind, rules, values):
    tokenizer = gguf_tokenizer(rules)
    model = save_folder(tmp_path / "model", kind, tokenizer, **values)
    answers = asked(exported(tmp_path / "model"), TEXTS)
    assert_answers_alike(model, tokenizer, answers)


@pytest.mark.parametrize("stored", ["f32", "bf16", "f16", "q8_0"])
def test_a_toolken_that_was_learned_comes_out_as_text_and_the_answer_ends(tmp_path, stored):
    tokenizer = gguf_tokenizer()
    model = save_folder(tmp_path / "model", tokenizer=tokenizer)
    calls = {
        "user asks weather": "Action: <tool_天气>\nAction Input: {}",
        "user asks 17": "Action: <tool_get weather>\nAction Input: 17",
        "user asks nothing": "Final Answer: it's <tool_Größe>",
    }
    ends = ["<|im_end|>", "<|endoftext|>", "<|im_end|>"]
    rows = [
        answer_row(tokenizer(asks)["input_ids"], tokenizer(says + end)["input_ids"])
        for (asks, says), end in zip(calls.items(), ends, strict=True)
    ]
    model.train()
    learn_by_heart(model, rows)
    model.save_pretrained(tmp_path / "model")
    answers = asked(exported(tmp_path / "model", stored), list(calls), max_tokens=60)
    assert [answer["text"] for answer in answers] == list(calls.values())
    assert all(answer["ends"] for answer in answers)

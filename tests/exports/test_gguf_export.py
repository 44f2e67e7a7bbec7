"""A model folder becomes a GGUF file: what it says, what comes back, and every refusal."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from gguf import GGUFReader, TokenType
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from ste_ray.cli.main import main
from ste_ray.core import layout
from tests.gguf_folders import TEXTS, TOOLKENS, gguf_tokenizer, save_folder
from tests.gguf_models import CHAT_TEMPLATE, SPECIAL

# transformers does not read names back that no byte's letter spells.
SPELLED = ("<tool_add>", "<tool_Größe>")


def export(folder, *more):
    return main(["export", "gguf", "--model", str(folder), *more])


def said(folder, capsys, *more):
    out = folder.parent / "never.gguf"
    assert export(folder, "--out", str(out), *more) == 2
    assert not out.exists()
    assert not list(folder.parent.glob(".*"))
    (line,) = [
        one for one in capsys.readouterr().err.splitlines() if not one.startswith("export: ")
    ]
    return line


def fields(path):
    reader = GGUFReader(path)
    return reader, {name: field.contents() for name, field in reader.fields.items()}


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("kind", "rules"),
    [("llama", "smollm"), ("llama", "gpt-2"), ("qwen3", "qwen2"), ("mistral", "tekken")],
)
def test_what_is_imported_again_is_the_same_model(tmp_path, kind, rules):
    tokenizer = gguf_tokenizer(rules, SPELLED)
    # Of Qwen 3, transformers reads the size of heads from no file and takes 128.
    values = {"head_dim": 128} if kind == "qwen3" else {}
    model = save_folder(tmp_path / "model", kind, tokenizer, **values)
    file = str(tmp_path / "tiny.gguf")
    assert export(tmp_path / "model", "--out", file) == 0
    assert main(["import", "model", file, "--out", str(tmp_path / "again")]) == 0
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again").eval()
    ids = torch.arange(3, 43).reshape(2, 20)
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=0, atol=1e-5)
    read = AutoTokenizer.from_pretrained(tmp_path / "again")
    for text in [*TEXTS[:3], "Action: <tool_add>\n", "<tool_Größe>"]:
        ids = tokenizer(text)["input_ids"]
        assert read(text)["input_ids"] == ids
        assert read.decode(ids) == tokenizer.decode(ids)
    assert read.decode(tokenizer("Action: <tool_add>\n")["input_ids"]) == "Action: <tool_add>\n"
    assert read.chat_template == CHAT_TEMPLATE
    assert (read.bos_token_id, read.eos_token_id, read.pad_token_id) == (1, 2, 0)
    assert again.generation_config.eos_token_id == [2, 0]
    assert again.config.tie_word_embeddings == (kind == "llama")


@pytest.mark.parametrize(
    ("stored", "types", "within"),
    [
        ("f32", {"F32"}, 0.0),
        ("bf16", {"BF16", "F32"}, 2**-8),
        ("f16", {"F16", "F32"}, 2**-11),
        ("q8_0", {"Q8_0", "F32"}, 1 / 127),
    ],
)
def test_matrices_are_stored_as_asked_for_and_vectors_in_full(tmp_path, stored, types, within):
    model = save_folder(tmp_path / "model", "qwen2")
    assert export(tmp_path / "model", "--out", str(tmp_path / "a.gguf"), "--type", stored) == 0
    reader, _ = fields(tmp_path / "a.gguf")
    assert {one.tensor_type.name for one in reader.tensors} == types
    assert all(one.tensor_type.name == "F32" for one in reader.tensors if len(one.shape) == 1)
    assert main(["import", "model", str(tmp_path / "a.gguf"), "--out", str(tmp_path / "b")]) == 0
    before = model.state_dict()
    for name, values in load_file(tmp_path / "b/model.safetensors").items():
        largest = before[name].abs().max() if stored == "q8_0" else before[name].abs()
        assert ((values - before[name]).abs() <= within * largest + 2**-25).all(), name


def test_weights_in_bf16_stay_so_and_a_width_that_has_no_blocks_is_written_in_full(tmp_path):
    save_folder(tmp_path / "model").to(torch.bfloat16).save_pretrained(tmp_path / "model")
    assert export(tmp_path / "model", "--out", str(tmp_path / "a.gguf")) == 0
    _, header = fields(tmp_path / "a.gguf")
    assert header["general.file_type"] == 32
    save_folder(tmp_path / "odd", intermediate_size=100)
    assert export(tmp_path / "odd", "--out", str(tmp_path / "b.gguf"), "--type", "q8_0") == 0
    stored = {one.name: one.tensor_type.name for one in GGUFReader(tmp_path / "b.gguf").tensors}
    assert stored["blk.0.ffn_down.weight"] == "F32"
    assert stored["blk.0.ffn_up.weight"] == "Q8_0"


def test_the_header_tells_toolkens_from_special_tokens_and_names_rows_without_a_token(tmp_path):
    save_folder(tmp_path / "model")
    assert export(tmp_path / "model", "--out", str(tmp_path / "a.gguf")) == 0
    _, header = fields(tmp_path / "a.gguf")
    tokens = header["tokenizer.ggml.tokens"]
    types = dict(zip(tokens, header["tokenizer.ggml.token_type"], strict=True))
    assert [types[one] for one in TOOLKENS] == [TokenType.USER_DEFINED] * 4
    assert [types[one] for one in SPECIAL] == [TokenType.CONTROL] * 3
    assert tokens[-3:] == ["[PAD0]", "[PAD1]", "[PAD2]"]
    assert [types[one] for one in tokens[-3:]] == [TokenType.UNUSED] * 3
    assert header["llama.vocab_size"] == len(tokens)
    assert header["tokenizer.ggml.eot_token_id"] == 0
    assert header["tokenizer.ggml.add_bos_token"] is False
    assert header["general.name"] == "model"


def test_a_run_gives_its_trained_model(tmp_path, capsys):
    run = tmp_path / "mine"
    assert main(["export", "gguf", "--run", str(run), "--out", str(tmp_path / "a.gguf")]) == 2
    assert "holds no trained model; run 'ste-ray train --run" in capsys.readouterr().err
    save_folder(run / layout.TUNED_MODEL)
    out = str(tmp_path / "a.gguf")
    assert main(["export", "gguf", "--run", str(run), "--out", out, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "mine"
    assert found["file"] == out
    assert found["added_tokens"] == len(TOOLKENS)
    assert found["num_bytes"] == (tmp_path / "a.gguf").stat().st_size
    assert main(["export", "gguf", "--run", str(run), "--out", out]) == 0  # replaced


def test_retired_toolkens_and_further_ends_are_told(tmp_path, capsys):
    model = save_folder(tmp_path / "model")
    number = AutoTokenizer.from_pretrained(tmp_path / "model").convert_tokens_to_ids("<tool_add>")
    model.generation_config.suppress_tokens = [number]
    model.generation_config.eos_token_id = [2, 0, 1, 5]
    model.save_pretrained(tmp_path / "model")
    assert export(tmp_path / "model", "--out", str(tmp_path / "a.gguf")) == 0
    told = capsys.readouterr().err
    assert "keeps 1 retired tokens from being generated, among them '<tool_add>'" in told
    assert "the file cannot say that" in told


def test_a_beginning_that_the_tokenizer_writes_is_said(tmp_path):
    from tokenizers.processors import TemplateProcessing

    tokenizer = gguf_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    save_folder(tmp_path / "model", tokenizer=tokenizer)
    assert export(tmp_path / "model", "--out", str(tmp_path / "a.gguf")) == 0
    _, header = fields(tmp_path / "a.gguf")
    assert header["tokenizer.ggml.add_bos_token"] is True
    assert header["tokenizer.ggml.add_eos_token"] is False


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"model_type": "gpt_neox"}, "of the architecture 'gpt_neox'; export gguf writes llama,"),
        (
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 5e3, "factor": 2.0}},
            "'linear'",
        ),
        ({"hidden_act": "gelu"}, "the activation 'gelu'"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "has quantised weights"),
    ],
)
def test_what_would_be_computed_otherwise_is_refused(tmp_path, capsys, values, told):
    save_folder(tmp_path / "model")
    change(tmp_path / "model", **values)
    line = said(tmp_path / "model", capsys)
    assert told in line
    assert "llama.cpp's own convert_hf_to_gguf.py" in line


def test_a_window_of_attention_is_refused(tmp_path, capsys):
    save_folder(tmp_path / "model", "mistral", sliding_window=64)
    assert "attention in a window of 64 tokens" in said(tmp_path / "model", capsys)


def test_a_tokenizer_that_llama_cpp_would_read_otherwise_is_refused(tmp_path, capsys):
    backend = Tokenizer(models.BPE())
    backend.add_special_tokens(list(SPECIAL))
    backend.add_tokens(["a"])
    plain = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    save_folder(tmp_path / "model", tokenizer=plain)
    assert "whose rules llama.cpp knows by name" in said(tmp_path / "model", capsys)


def test_damaged_folders_are_refused(tmp_path, capsys):
    assert "has no config.json" in said(tmp_path / "nothing", capsys)
    folder = tmp_path / "model"
    model = save_folder(folder)
    weights = load_file(folder / "model.safetensors")
    gate = "model.layers.1.mlp.gate_proj.weight"
    save_file({n: v for n, v in weights.items() if n != gate}, folder / "model.safetensors")
    assert f"lack 1 tensors of the model, among them {gate!r}" in said(folder, capsys)
    save_file(weights | {gate: weights[gate] * torch.nan}, folder / "model.safetensors")
    assert "hold values that are no numbers" in said(folder, capsys)
    save_file(weights | {gate: weights[gate] * 1e6}, folder / "model.safetensors")
    assert "too large for --type 'f16'" in said(folder, capsys, "--type", "f16")
    (folder / "model.safetensors").write_bytes(b"no weights")
    assert "cannot load the model in" in said(folder, capsys)
    model.save_pretrained(folder)
    wider = gguf_tokenizer(toolkens=tuple(f"<tool_{n}>" for n in range(99)))
    wider.save_pretrained(folder)
    assert "they do not belong together" in said(folder, capsys)


def test_a_missing_library_and_a_place_that_cannot_be_written_are_told(
    tmp_path, capsys, monkeypatch
):
    save_folder(tmp_path / "model")
    assert export(tmp_path / "model", "--out", str(tmp_path / "no/a.gguf")) == 2
    assert "give a file in an existing folder" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "pip install 'ste-ray[gguf]'" in said(tmp_path / "model", capsys)

"""A GGUF file becomes a plain model folder: same weights, tokens and answers, and every error."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from ste_ray.cli.main import main
from ste_ray.core.records import Message
from ste_ray.errors import StageInputError
from ste_ray.generation.decode import Decoding, generate
from ste_ray.generation.model import load_model as load_for_generation
from ste_ray.imports.gguf_files import GgufFile
from ste_ray.imports.gguf_rotary import scaled_positions
from ste_ray.imports.models import import_model
from ste_ray.training.batches import collate
from ste_ray.training.chat_format import ChatFormat
from ste_ray.training.model import check_base, load_model
from ste_ray.training.shards import TokenisedRow
from ste_ray.training.tokenizer import load_tokenizer
from tests.gguf_folders import gguf_tokenizer, save_folder
from tests.gguf_models import CHAT_TEMPLATE, save_gguf

TEXTS = [
    "user asks 17 and Action: add",
    "two  spaces, 12  345 and\n\n67 ünï – 漢字 🙂",
    "<|im_start|>user\nhi<|im_end|>\n",
    " it's -5 %",
]


def quiet(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    packed = save_gguf(folder / "tiny.gguf")
    return (
        packed,
        folder / "model",
        import_model(str(folder), str(folder / "model"), "float32", quiet),
    )


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("stored", ["F32", "F16", "BF16", "Q8_0", "Q5_0", "Q4_1", "Q4_0"])
def test_the_folder_gives_the_logits_of_the_weights_in_the_file(tmp_path, kind, stored):
    packed = save_gguf(tmp_path / "tiny.gguf", kind, stored)
    found = import_model(str(packed.path), str(tmp_path / "model"), "float32", quiet)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    ids = torch.arange(3, 43).reshape(2, 20)
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, packed.model(ids).logits, rtol=0, atol=1e-6)
    assert found.parameters == sum(one.numel() for one in packed.model.parameters())
    assert found.stored_types == ("F32" if stored == "F32" else f"{stored}, F32")
    assert found.architecture == {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}[kind]


def test_texts_become_the_same_tokens_and_chats_the_same_texts(imported):
    packed, folder, _ = imported
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = packed.tokenizer(text)["input_ids"]
        assert tokenizer(text)["input_ids"] == ids
        assert tokenizer.decode(ids) == text
    assert tokenizer.chat_template == CHAT_TEMPLATE
    assert (folder / "chat_template.jinja").read_text() == CHAT_TEMPLATE


def test_the_folder_says_only_what_concerns_the_model(imported):
    _, folder, _ = imported
    read = {path.name: json.loads(path.read_text()) for path in folder.glob("*config.json")}
    config = read["config.json"]
    assert config["dtype"] == "float32"
    assert config["rope_parameters"] == {"rope_theta": 5000.0, "rope_type": "default"}
    assert [name for name in config if name.startswith("_") or "quant" in name] == []
    assert set(read["tokenizer_config.json"]) == {
        *("backend", "bos_token", "eos_token", "pad_token"),
        *("model_max_length", "tokenizer_class", "unk_token"),
    }
    assert read["tokenizer_config.json"]["model_max_length"] == 512
    generation_config = read["generation_config.json"]
    assert generation_config.pop("transformers_version")
    assert generation_config == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    assert str(folder) not in "".join(path.read_text() for path in folder.glob("*.json"))
    modes = {path.stat().st_mode for path in folder.iterdir()}
    assert len(modes) == 1


def test_training_takes_it_and_the_end_of_an_answer_is_not_padding(imported):
    _, folder, _ = imported
    tokenizer = load_tokenizer(str(folder))
    end = ChatFormat(tokenizer).end_id
    assert end == tokenizer.eos_token_id == 2
    assert tokenizer.pad_token_id == 0
    assert check_base(folder, str(folder), 512) == len(tokenizer)
    model = load_model(folder)
    # A row of padding is not trained where it is read: that of the end must be.
    rows = [TokenisedRow("a", [5, end, 6, 7, end], 2), TokenisedRow("b", [5, 6, end], 1)]
    batch = collate(rows, tokenizer.pad_token_id)
    embeddings = model.get_input_embeddings()
    embeddings(batch.input_ids).sum().backward()
    gradient = embeddings.weight.grad
    assert gradient[end].abs().sum() > 0
    assert gradient[tokenizer.pad_token_id].abs().sum() == 0


def test_generation_takes_it(imported):
    packed, folder, _ = imported
    local = load_for_generation(folder)
    assert local.eos_token_ids == (2,)
    assert (local.pad_token_id, local.max_positions) == (0, 512)
    dialog = [Message(role="user", content="asks 17")]
    prompt = packed.tokenizer(ChatFormat(local.tokenizer).prompt(dialog))["input_ids"]
    together = generate(local, [prompt, prompt[:4]], Decoding(max_new_tokens=8))
    alone = generate(local, [prompt], Decoding(max_new_tokens=8))
    assert together[0] == alone[0]
    expected = packed.model.generate(
        torch.tensor([prompt]), max_new_tokens=8, do_sample=False, eos_token_id=2, pad_token_id=0
    )
    text = packed.tokenizer.decode(expected[0, len(prompt) :], skip_special_tokens=True)
    assert len(set(text)) > 3
    assert alone[0].text == text


def test_weights_are_written_in_the_precision_asked_for(tmp_path):
    save_gguf(tmp_path / "tiny.gguf")
    for dtype in ("bfloat16", "float16"):
        out = tmp_path / dtype
        assert main(["import", "model", str(tmp_path), "--out", str(out), "--dtype", dtype]) == 0
        model = AutoModelForCausalLM.from_pretrained(out)
        assert str(model.dtype) == f"torch.{dtype}"


def test_the_command_says_what_it_made_and_how_to_use_it(tmp_path, capsys):
    save_gguf(tmp_path / "tiny.gguf")
    arguments = ["import", "model", str(tmp_path / "tiny.gguf"), "--out"]
    assert main([*arguments, str(tmp_path / "a")]) == 0
    said = capsys.readouterr()
    assert f"train.model.base={tmp_path / 'a'}" in said.out
    assert "LlamaForCausalLM" in said.out
    said_words = {line.partition(": ")[0] for line in said.err.splitlines()}
    assert said_words == {"import", "note"}  # no bar of a library
    assert main([*arguments, str(tmp_path / "b"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["folder"] == str(tmp_path / "b")
    assert found["vocabulary"] == 286
    assert found["positions"] == 512
    assert any("padding" in note for note in found["notes"])


def test_what_is_lost_is_noted(tmp_path):
    fields = {"tokenizer.ggml.pre": "viking"}
    save_gguf(tmp_path / "tiny.gguf", fields=fields)
    notes = import_model(str(tmp_path), str(tmp_path / "model"), "float32", quiet).notes
    assert any("'viking'" in note for note in notes)


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("llama", {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 64}}),
        ("llama", {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 8192}}),
        ("qwen3", {"head_dim": 32}),
    ],
)
def test_a_model_comes_back_as_it_was_exported(tmp_path, kind, values):
    model = save_folder(tmp_path / "before", kind, gguf_tokenizer(toolkens=()), **values)
    file = str(tmp_path / "model.gguf")
    assert main(["export", "gguf", "--model", str(tmp_path / "before"), "--out", file]) == 0
    import_model(file, str(tmp_path / "after"), "float32", quiet)
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "after").eval()
    assert found.config.rope_parameters == model.config.rope_parameters
    ids = (torch.arange(300) % 250 + 3).reshape(1, 300)
    with torch.no_grad():
        expected = model(ids).logits[..., : found.config.vocab_size]
        torch.testing.assert_close(found(ids).logits, expected, rtol=0, atol=1e-4)


def header(**values: object) -> GgufFile:
    given = {"types": {}, "name": "", "tokenizer": "", "pre_tokenizer": "", "end_of_turn": None}
    return GgufFile(Path("m.gguf"), **({"architecture": "llama"} | given | values))


def test_positions_are_scaled_as_the_file_says_or_refused():
    def scaled(kind: str, **values: object) -> dict[str, object]:
        return scaled_positions(header(rope_scaling=kind, **values), 500000.0, 64)

    assert scaled("") == {}
    assert scaled("yarn", architecture="gpt-oss") == {}
    assert scaled("linear", rope_factor=4.0) == {"rope_type": "linear", "factor": 4.0}
    config = AutoConfig.for_model(
        "llama",
        head_dim=64,
        rope_parameters=LLAMA3
        | {"rope_theta": 500000.0, "factor": 32.0, "original_max_position_embeddings": 8192},
    )
    plain = 500000.0 ** -(torch.arange(0, 64, 2) / 64)
    frequencies, _ = ROPE_INIT_FUNCTIONS["llama3"](config)
    factors = tuple((plain / frequencies).tolist())
    found = scaled("by frequency", rope_factors=factors)
    assert found.pop("factor") == pytest.approx(32.0, rel=1e-4)
    assert found == {
        "rope_type": "llama3",
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    odd = (*factors[:-1], 7.0)
    for values in ({"rope_factors": odd}, {"rope_factors": factors[:-1]}, {}):
        with pytest.raises(StageInputError, match=r"scales rotary positions \(by frequency\)"):
            scaled("by frequency", **values)
    with pytest.raises(StageInputError, match="yarn"):
        scaled("yarn", rope_factor=4.0)


def refused(capsys, *arguments: str) -> str:
    out = Path(arguments[-1])
    before = sorted(out.parent.iterdir()) if out.parent.is_dir() else []
    assert main(["import", "model", arguments[0], "--out", str(out)]) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error: ")]
    assert sorted(out.parent.iterdir()) == before
    return line


def test_what_is_no_gguf_file_is_refused(tmp_path, capsys):
    out = str(tmp_path / "out")
    (tmp_path / "b").mkdir()
    assert "there is no file" in refused(capsys, str(tmp_path / "none.gguf"), out)
    assert "holds no .gguf file" in refused(capsys, str(tmp_path / "b"), out)
    (tmp_path / "b/a.gguf").write_bytes(b"PK\x03\x04 zip")
    assert "begins with b'PK" in refused(capsys, str(tmp_path / "b"), out)
    (tmp_path / "b/b-00001-of-00001.gguf").write_bytes(b"")
    (tmp_path / "b/a.gguf").rename(tmp_path / "b/a-00001-of-00001.gguf")
    line = refused(capsys, str(tmp_path / "b"), out)
    assert "'a-00001-of-00001.gguf', 'b-00001-of-00001.gguf'; name one" in line
    (tmp_path / "b/a-00001-of-00001.gguf").rename(tmp_path / "b/a.gguf")
    (tmp_path / "b/b-00001-of-00001.gguf").rename(tmp_path / "b/b.gguf")
    assert "'a.gguf', 'b.gguf'" in refused(capsys, str(tmp_path / "b"), out)
    assert "is no GGUF file" in refused(capsys, str(tmp_path / "b/b.gguf"), out)


@pytest.mark.parametrize("share", [0.0005, 0.02, 0.2, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_refused(tmp_path, capsys, share):
    path = save_gguf(tmp_path / "tiny.gguf").path
    whole = path.read_bytes()
    path.write_bytes(whole[: max(4, int(len(whole) * share))])
    assert "damaged or cut off" in refused(capsys, str(path), str(tmp_path / "out"))


def test_texts_that_are_none_are_told_as_damage(tmp_path, capsys):
    path = save_gguf(tmp_path / "tiny.gguf").path
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"Tiny 1k", b"\xff\xfe\xfd 1k"))
    assert "damaged or cut off" in refused(capsys, str(path), str(tmp_path / "out"))
    path.write_bytes(whole.replace(b"tiny", b"\xff\xfe\xfdy"))  # one that only transformers reads
    line = refused(capsys, str(path), str(tmp_path / "out"))
    assert "'llama'" in line
    assert "get the file again" in line
    assert "does not read" not in line


def test_values_that_are_no_numbers_are_refused(tmp_path, capsys):
    path = save_gguf(tmp_path / "tiny.gguf").path
    whole = path.read_bytes()
    path.write_bytes(whole[:-64] + b"\xff" * 64)
    assert "no numbers" in refused(capsys, str(path), str(tmp_path / "out"))


def test_a_file_without_all_tensors_is_refused(tmp_path, capsys):
    path = save_gguf(tmp_path / "tiny.gguf", leave_out="blk.1.ffn_up.weight").path
    line = refused(capsys, str(path), str(tmp_path / "out"))
    assert "lacks 1 tensors" in line
    assert "layers.1.mlp.up_proj" in line


def test_an_unknown_architecture_is_refused_with_those_that_are_read(tmp_path, capsys):
    path = tmp_path / "odd.gguf"
    import gguf

    writer = gguf.GGUFWriter(path, "grok")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    line = refused(capsys, str(path), str(tmp_path / "out"))
    assert "'grok'" in line
    assert "llama, " in line
    assert "qwen3" in line


def test_a_part_of_a_model_is_refused(tmp_path, capsys):
    (tmp_path / "m").mkdir()
    save_gguf(tmp_path / "m/tiny-00001-of-00003.gguf")
    for source in (tmp_path / "m", tmp_path / "m/tiny-00001-of-00003.gguf"):
        line = refused(capsys, str(source), str(tmp_path / "out"))
        assert "a part of a model of 3 files" in line
        assert "llama-gguf-split --merge" in line


def test_a_missing_library_is_named_with_its_extra(tmp_path, capsys, monkeypatch):
    path = save_gguf(tmp_path / "tiny.gguf").path
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert "'ste-ray[gguf]'" in refused(capsys, str(path), str(tmp_path / "out"))


def test_a_folder_that_is_not_empty_is_kept(tmp_path, capsys):
    save_gguf(tmp_path / "tiny.gguf")
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("x")
    assert main(["import", "model", str(tmp_path), "--out", str(out)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert [one.name for one in out.iterdir()] == ["mine"]


def test_a_file_is_no_folder_to_make(tmp_path, capsys):
    (tmp_path / "model").write_text("mine")
    assert main(["import", "model", "x.gguf", "--out", str(tmp_path / "model")]) == 2
    assert "is a file, and a folder is to be made" in capsys.readouterr().err
    assert (tmp_path / "model").read_text() == "mine"

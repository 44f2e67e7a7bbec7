"""Loading local models: what is filled in, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerFast

from ste_ray.errors import ConfigError, DecodingError, StageInputError
from ste_ray.generation.decode import Decoding, generate
from ste_ray.generation.model import Loading, LocalModel, load_model, position_limit


@pytest.fixture
def folder(random_folder: Path, tmp_path: Path) -> Path:
    """A copy of the random model's folder that a test may change."""
    return Path(shutil.copytree(random_folder, tmp_path / "model"))


def edit(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text())
    for key, value in changes.items():
        values.pop(key, None)
        if value is not None:
            values[key] = value
    path.write_text(json.dumps(values))


def test_what_decoding_needs_is_read(
    random_model: LocalModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    assert random_model.pad_token_id == tokenizer.pad_token_id
    assert random_model.eos_token_ids == (tokenizer.eos_token_id,)
    assert random_model.max_positions == 256
    assert random_model.model.dtype == torch.float32
    assert not random_model.model.training


def test_every_end_token_counts(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    edit(folder / "generation_config.json", eos_token_id=[7, 9])
    assert load_model(folder).eos_token_ids == (tokenizer.eos_token_id, 7, 9)


def test_the_end_token_pads_where_there_is_no_pad_token(
    folder: Path, random_model: LocalModel
) -> None:
    edit(folder / "tokenizer_config.json", pad_token=None)
    edit(folder / "config.json", pad_token_id=None)
    model = load_model(folder)
    assert model.tokenizer.pad_token_id is None
    assert model.pad_token_id == model.tokenizer.eos_token_id
    prompts = [[5, 6, 7], [8]]
    decoding = Decoding(max_new_tokens=8)
    assert generate(model, prompts, decoding) == generate(random_model, prompts, decoding)


def test_neither_pad_nor_end_token_is_refused(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", pad_token=None, eos_token=None)
    edit(folder / "config.json", eos_token_id=None)
    (folder / "generation_config.json").unlink()
    with pytest.raises(StageInputError, match="neither a pad nor an end-of-sequence token"):
        load_model(folder)


def test_defaults_of_the_model_do_not_leak_into_greedy_decoding(
    folder: Path, random_model: LocalModel
) -> None:
    GenerationConfig(
        do_sample=True, temperature=9.0, top_p=0.9, repetition_penalty=5.0, min_new_tokens=20
    ).save_pretrained(folder)
    prompts = [[5, 6, 7], [8]]
    decoding = Decoding(max_new_tokens=16)
    assert generate(load_model(folder), prompts, decoding) == generate(
        random_model, prompts, decoding
    )


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_files_are_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(StageInputError, match="cannot load the model in"):
        load_model(folder)


def test_damaged_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(StageInputError, match="cannot load the model in"):
        load_model(folder)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_a_model_that_does_not_fit_is_not_called_damaged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", Mock(side_effect=error))
    with pytest.raises(StageInputError, match=r"does not fit into memory.*int8"):
        load_model(folder)


def test_a_device_that_fails_is_no_fault_of_the_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered")
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", Mock(side_effect=error))
    with pytest.raises(DecodingError, match=r"the device fails.*ECC"):
        load_model(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(StageInputError, match="cannot load the model in"):
        load_model(folder)


def test_code_in_the_folder_is_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass M: pass\n")
    edit(
        folder / "config.json",
        auto_map={"AutoConfig": "own.M", "AutoModelForCausalLM": "own.M"},
        model_type="own_type",
    )
    with pytest.raises(StageInputError, match="cannot load the model in"):
        load_model(folder)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_of_another_model_is_refused(
    folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    copy = PreTrainedTokenizerFast.from_pretrained(folder)
    copy.add_tokens(["<tool_new>"])
    copy.save_pretrained(folder)
    with pytest.raises(StageInputError, match=r"tokens, its model only \d+ embeddings"):
        load_model(folder)


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"max_position_embeddings": 64}, 64),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": -1}, None),
        ({}, None),
    ],
)
def test_position_limit(config: dict[str, Any], limit: int | None) -> None:
    assert position_limit(config) == limit


def test_weights_in_eight_bits_are_smaller_and_say_nearly_the_same(
    random_folder: Path, random_model: LocalModel
) -> None:
    small = load_model(random_folder, Loading(int8=True))
    weights = {name: one for name, one in small.model.named_parameters() if "q_proj" in name}
    assert weights
    assert all(one.dtype == torch.int8 for one in weights.values())
    assert small.model.get_memory_footprint() < 0.6 * random_model.model.get_memory_footprint()
    ids = torch.arange(3, 40)[None]
    expected, found = random_model.model(ids).logits, small.model(ids).logits
    assert (expected - found).abs().max() < 0.05 * expected.abs().max()
    (answer,) = generate(small, [[1, 2, 3]], Decoding(max_new_tokens=4))
    assert answer.error == ""


def test_precision_is_fp32_on_a_cpu_unless_bf16_is_asked_for(
    random_folder: Path, random_model: LocalModel
) -> None:
    half = load_model(random_folder, Loading(precision="bf16"))
    dtypes = [{one.dtype for one in each.model.parameters()} for each in (random_model, half)]
    assert dtypes == [{torch.float32}, {torch.bfloat16}]
    ids = torch.arange(3, 40)[None]
    expected, found = random_model.model(ids).logits, half.model(ids).logits
    assert 0 < (expected - found.float()).abs().max() < 0.05 * expected.abs().max()
    prompts = [[1, 2, 3], list(range(3, 40))]
    assert all(one.error == "" for one in generate(half, prompts, Decoding(max_new_tokens=4)))


@pytest.mark.parametrize("int8", [False, True])
def test_an_adapter_is_put_on_its_base_model(
    random_folder: Path, random_model: LocalModel, tmp_path: Path, int8: bool
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(random_folder)
    torch.manual_seed(0)
    adapted = get_peft_model(
        base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    adapted.save_pretrained(tmp_path / "adapter")
    expected = adapted.eval()(torch.arange(3, 20)[None]).logits
    loaded = load_model(tmp_path / "adapter", Loading(int8=int8))
    found = loaded.model(torch.arange(3, 20)[None]).logits
    assert (found - expected).abs().max() < (0.1 if int8 else 1e-4) * expected.abs().max()
    plain = random_model.model(torch.arange(3, 20)[None]).logits
    assert (plain - expected).abs().max() > 0.05 * expected.abs().max()
    assert loaded.eos_token_ids == random_model.eos_token_ids


def test_an_adapter_without_its_base_is_refused(random_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(StageInputError, match="names no base model"):
        load_model(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "/nowhere"}')
    with pytest.raises(StageInputError, match="cannot load the model"):
        load_model(tmp_path)


def test_a_missing_library_is_named(random_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(ConfigError, match=r"needs bitsandbytes; .*ste-ray\[infer\]"):
        load_model(random_folder, Loading(int8=True))


def test_layers_can_be_spread_over_what_there_is(
    random_folder: Path, random_model: LocalModel
) -> None:
    spread = load_model(random_folder, Loading(spread=True))
    prompts, decoding = [[1, 5, 6], [1, 7]], Decoding(max_new_tokens=6)
    assert generate(spread, prompts, decoding) == generate(random_model, prompts, decoding)

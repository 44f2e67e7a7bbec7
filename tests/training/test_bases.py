"""Base models: what is refused before any worker starts, and models that were trained before."""

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ste_ray.core import layout
from ste_ray.core.toolkens import toolken
from ste_ray.errors import ConfigError, StageInputError
from ste_ray.store.artifacts import open_store
from tests.training.conftest import TOOLS, make_row
from tests.training.training_runs import job_of, save_base, some_rows, train


@pytest.fixture
def base(tmp_path, tokenizer):
    return save_base(tmp_path / "base", tokenizer)


def refused(tmp_path, base, match, error=ConfigError, **section):
    with pytest.raises(error, match=match) as caught:
        job_of(tmp_path / "run", model={"base": str(base)}, **section)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path):
    refused(tmp_path, tmp_path / "none", r"none' is no folder; give an existing one")


def test_a_name_that_the_hub_does_not_give(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    refused(
        tmp_path,
        "nobody/nothing",
        r"'nobody/nothing' is no folder here and not wholly in the cache",
    )


def test_a_folder_without_safetensors(tmp_path, base):
    weights = AutoModelForCausalLM.from_pretrained(base).state_dict()
    torch.save(weights, base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    refused(tmp_path, base, r"holds no weights in safetensors; give")


def test_damaged_weights(tmp_path, base):
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    refused(tmp_path, base, r"'model.safetensors' is damaged")


def test_a_model_of_another_kind(tmp_path, base):
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "model_type": "t5"}))
    refused(tmp_path, base, r"cannot use train\.model\.base=")


def test_a_tokenizer_without_an_end(tmp_path, base):
    path = base / "tokenizer_config.json"
    settings = {name: value for name, value in json.loads(path.read_text()).items()}
    path.write_text(json.dumps({**settings, "eos_token": None}))
    refused(tmp_path, base, "has no end-of-sequence token; set 'eos_token'")


def test_rows_longer_than_the_positions(tmp_path, base):
    refused(tmp_path, base, r"max_tokens=257 exceeds the 256 positions", max_tokens=257)


def test_a_toolken_that_the_tokenizer_has_already(tmp_path, base):
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens([toolken("get_time")])
    tokenizer.save_pretrained(base)
    refused(tmp_path, base, r"already has the token '<tool_get_time>'")


def test_no_rows(tmp_path):
    with pytest.raises(StageInputError, match=r"no training row .*prepare more examples"):
        job_of(tmp_path, rows=[make_row(1, "validation"), make_row(2, "validation")])


def test_a_run_uri_without_a_model(tmp_path):
    refused(tmp_path, f"file://{tmp_path}/none", r"give the URI of a model's folder")


@pytest.mark.parametrize(
    ("section", "match"),
    [
        ({"min_workers": 3}, r"min_workers=3 exceeds train.num_workers=2"),
        ({"retire_tools": ["nothing"]}, "the base model has no toolken for it; it has none"),
    ],
)
def test_settings_that_do_not_go_together(tmp_path, section, match):
    with pytest.raises(ConfigError, match=match):
        job_of(tmp_path, **section)


def test_toolkens_alone_need_tools(tmp_path):
    with pytest.raises(ConfigError, match="trains the rows of toolkens, and there is no tool"):
        job_of(tmp_path, tools=(), mode="toolkens")


def test_what_a_base_does_not_need_is_not_copied(tmp_path, base):
    (base / "pytorch_model.bin").write_bytes(b"weights of another form")
    (base / "modeling.py").write_text("raise SystemExit")
    job = job_of(tmp_path / "run", model={"base": str(base)})
    names = {path.rpartition("/")[2] for path in job.files.list(layout.BASE_MODEL)}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not names & {"pytorch_model.bin", "modeling.py"}


def test_a_base_in_bf16_is_trained_in_fp32(tmp_path, base):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    model.save_pretrained(base)
    records, _ = train(job_of(tmp_path / "run", model={"base": str(base)}))
    assert records[-1].loss < records[0].loss
    tuned = AutoModelForCausalLM.from_pretrained(tmp_path / "run/train/model", dtype="auto")
    assert tuned.dtype == torch.float32
    records, _ = train(job_of(tmp_path / "half", model={"base": str(base)}, precision="bf16"))
    assert records[-1].loss < records[0].loss
    half = AutoModelForCausalLM.from_pretrained(tmp_path / "half/train/model", dtype="auto")
    assert half.dtype == torch.bfloat16


def rows_for(tools):
    return [row for row in some_rows() if row.tool in tools]


@pytest.mark.parametrize("place", ["folder", "run"])
def test_a_trained_model_learns_more_tools_and_keeps_its_rows(tmp_path, place):
    first, later = TOOLS[:2], TOOLS[2:]
    train(job_of(tmp_path / "first", rows=rows_for(first), tools=first))
    before = AutoModelForCausalLM.from_pretrained(tmp_path / "first/train/model")
    ids = json.loads((tmp_path / "first/train/model/toolkens.json").read_text())["tools"]
    base = f"{tmp_path}/first/train/model"
    if place == "run":
        base = open_store(f"file://{base}").uri
        base = f"file://{base}"

    section = {"model": {"base": base}, "learning_rate": 1e-12, "retire_tools": [first[1]]}
    job = job_of(tmp_path / "later", rows=rows_for(later), tools=later, **section)
    train(job)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "later/train/model")
    stored = json.loads((tmp_path / "later/train/model/toolkens.json").read_text())
    assert stored["tools"] == {first[0]: ids[first[0]], later[0]: max(ids.values()) + 1}
    assert stored["retired"] == [ids[first[1]]]
    assert after.generation_config.suppress_tokens == [ids[first[1]]]
    rows = [model.get_input_embeddings().weight for model in (before, after)]
    assert len(rows[1]) == len(rows[0]) + 1
    kept = [number for number in range(len(rows[0])) if number != ids[first[1]]]
    torch.testing.assert_close(rows[1][kept], rows[0][kept])
    assert not torch.allclose(rows[1][ids[first[1]]], rows[0][ids[first[1]]])
    shutil.rmtree(tmp_path / "later")


CODE = """
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "own_model"

class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""


def test_code_of_a_base_runs_only_if_it_is_trusted(tmp_path, base, monkeypatch):
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    (base / "own.py").write_text(CODE)
    config = json.loads((base / "config.json").read_text())
    config |= {
        "model_type": "own_model",
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnForCausalLM"},
    }
    (base / "config.json").write_text(json.dumps(config))
    refused(tmp_path, base, r"code of its own; read it, and set trust_remote_code=true")
    job = job_of(tmp_path / "trusted", model={"base": str(base)}, trust_remote_code=True)
    records, _ = train(job)
    assert records[-1].loss < records[0].loss
    folder = tmp_path / "trusted/train/model"
    tuned = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    assert type(tuned).__name__ == "OwnForCausalLM"

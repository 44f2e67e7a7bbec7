"""The export for axolotl: its recipe checked and its data tokenised by axolotl itself."""

from __future__ import annotations

import enum
import importlib
import json
from types import SimpleNamespace

import pytest
import yaml
from datasets import load_dataset
from exports.prepared_run import make_run

from ste_ray.cli.main import main
from ste_ray.core.records import Example
from ste_ray.core.texts.safe_names import safe_name
from ste_ray.exports.axolotl import sequence_length
from ste_ray.store.tables import write_records
from tests.byte_models import byte_tokenizer
from tests.native_templates import HERMES
from tests.peer_modules import needs_peer, peer_modules

pytestmark = needs_peer("axolotl")


def export(store, out, *options):
    assert main(["export", "axolotl", "--run", store.uri, "--out", str(out), *options]) == 0
    return out


@pytest.fixture(scope="module")
def peer():
    """The modules of axolotl that read recipes and data sets, without those of images."""
    sizes = enum.IntEnum("Resampling", "NEAREST LANCZOS BILINEAR BICUBIC BOX HAMMING", start=0)
    with peer_modules({"PIL": {}, "PIL.Image": {"Resampling": sizes}}):
        yield SimpleNamespace(
            load=importlib.import_module("axolotl.prompt_strategies.chat_template").load,
            Dict=importlib.import_module("axolotl.utils.dict").DictDefault,
            Recipe=importlib.import_module("axolotl.utils.schemas.config").AxolotlInputConfig,
        )


def read_recipe(peer, folder):
    """Return the recipe as axolotl reads it."""
    given = yaml.safe_load((folder / "axolotl.yml").read_text(encoding="utf-8"))
    unknown = set(given) - set(peer.Recipe.model_fields)
    assert not unknown
    return peer.Dict(peer.Recipe(**given).model_dump(exclude_none=True))


def trained_texts(peer, folder, cache):
    """Yield the rows as axolotl makes them: all of the text, and what is trained on, in pieces."""
    recipe = read_recipe(peer, folder)
    (described,) = recipe.datasets
    tokenizer = byte_tokenizer(["Request"], 300, HERMES, ends=("<s>", "<|im_end|>"))
    strategy = peer.load(tokenizer, recipe, described)
    path = str(folder / described.path)
    rows = load_dataset(described.ds_type, data_files=path, split="train", cache_dir=str(cache))
    for row in rows:
        made = strategy.tokenize_prompt(dict(row))
        labels = [one if one >= 0 else tokenizer.pad_token_id for one in made["labels"]]
        pieces = tokenizer.decode(labels).replace(tokenizer.pad_token, "\0").split("\0")
        yield tokenizer.decode(made["input_ids"]), [one for one in pieces if one]


def test_axolotl_trains_on_each_call_as_it_was_made(tmp_path, monkeypatch, peer):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    store, examples, _ = make_run(tmp_path / "run")
    folder = export(store, tmp_path / "out")
    rows = list(trained_texts(peer, folder, tmp_path / "cache"))
    wanted = [one for one in examples if one.split == "train"]
    assert len(rows) == len(wanted) + 3
    for one in wanted:
        ((text, (call, answer)),) = (
            row for row in rows if f"user\n{one.query}<|im_end|>" in row[0]
        )
        assert call.startswith("<tool_call>\n")
        assert call.endswith("\n</tool_call><|im_end|>")
        made = json.loads(call.removeprefix("<tool_call>").partition("</tool_call>")[0])
        assert made == {
            "name": safe_name(one.tool),
            "arguments": json.loads(one.arguments_json),
        }
        assert answer == f"{one.final_answer}<|im_end|>"
        assert f'"name": "{made["name"]}"' in text.partition(one.query)[0]  # the tool is offered
    ((general, said),) = (row for row in rows if row[1] == ["Je ne <tool_sais> pas<|im_end|>"])
    assert "Tools:" not in general
    assert said


def test_the_recipe_holds_what_was_asked_for(tmp_path, peer):
    store, _, _ = make_run(tmp_path / "run")
    recipe = read_recipe(peer, export(store, tmp_path / "out", "--base-model", "me/my-model"))
    assert recipe.base_model == "me/my-model"
    assert [one.path for one in recipe.datasets] == ["train.jsonl"]
    assert [one.path for one in recipe.test_datasets] == ["validation.jsonl"]


@pytest.mark.parametrize(
    ("chars", "tokens"), [(0, 2048), (6144, 2048), (6145, 4096), (12288, 4096), (100_000, 65536)]
)
def test_a_row_fits_in_a_power_of_two(chars, tokens):
    assert sequence_length(chars) == tokens


def test_the_recipe_takes_the_longest_row_that_is_trained_on(tmp_path, peer):
    store, examples, _ = make_run(tmp_path / "run")
    short = read_recipe(peer, export(store, tmp_path / "short"))
    for split in ("test", "train"):
        one = next(one for one in examples if one.split == split)
        long = one.model_copy(update={"example_id": split, "observation": "x" * 50_000})
        path = "prepare/examples/part-00001.parquet"
        write_records(store, path, [long], Example)
        recipe = read_recipe(peer, export(store, tmp_path / split))
        assert recipe.sequence_len == (short.sequence_len if split == "test" else 32_768)


def test_a_recipe_without_validation_tests_on_none(tmp_path, peer):
    store, _, _ = make_run(tmp_path / "run", splits=False)
    folder = export(store, tmp_path / "out")
    assert not read_recipe(peer, folder).test_datasets
    assert "Qwen" in read_recipe(peer, folder).base_model

"""Whole trainings of one rank and of two: what must not change a loss, and what is left behind."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ste_ray.core import layout
from ste_ray.core.asked_models import AskedModel
from ste_ray.core.toolkens import toolken
from ste_ray.training.batches import collate
from ste_ray.training.examples import RowTokenizer
from tests.training.conftest import TOOLS
from tests.training.training_runs import (
    ARCHITECTURES,
    job_of,
    losses,
    save_base,
    some_rows,
    train,
)


def logits_of(folder):
    """The logits of an exported model on some rows."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [RowTokenizer(tokenizer, 256).tokenise(row) for row in some_rows()[:3]]
    batch = collate(rows, tokenizer.pad_token_id)
    with torch.no_grad():
        return model(input_ids=batch.input_ids).logits


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_two_sharded_ranks_and_packed_rows_train_like_one_process(
    two_ranks, tmp_path, tokenizer, architecture, tied
):
    base = str(save_base(tmp_path / "base", tokenizer, architecture, tied))
    alone = job_of(tmp_path / "alone", model={"base": base}, batching="grouped")
    expected, figures = train(alone)
    assert expected[-1].loss < expected[0].loss

    sharded = job_of(tmp_path / "sharded", model={"base": base})
    results = two_ranks.run(train, sharded)
    assert torch.equal(losses(results[0][0]), losses(results[1][0]))
    torch.testing.assert_close(losses(results[0][0]), losses(expected), atol=1e-5, rtol=1e-5)
    assert results[0][1]["workers"] == 2
    assert results[0][1]["parameters"] == figures["parameters"]
    torch.testing.assert_close(
        logits_of(tmp_path / "sharded/train/model"),
        logits_of(tmp_path / "alone/train/model"),
        atol=1e-4,
        rtol=1e-4,
    )

    packed = job_of(tmp_path / "packed", model={"base": base}, batching="packed")
    records, figures = train(packed)
    assert figures["batching"] == "shared"
    assert records[0].padded_share == 0.0
    # Of rows that share their beginning, fewer tokens are computed than there are.
    assert records[0].tokens_per_second < 0.9 * records[0].useful_tokens_per_second
    torch.testing.assert_close(losses(records), losses(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"batch_tokens": 64, "batching": "grouped"},
        {"batch_tokens": 64, "batching": "packed"},
        {"activation_checkpointing": True, "batching": "grouped"},
        {"activation_checkpointing": True, "batching": "packed"},
        pytest.param({"compile": True}, marks=pytest.mark.slow),
        pytest.param({"compile": True, "batching": "packed"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_how_a_step_is_computed_changes_nothing(tmp_path, change):
    expected, _ = train(job_of(tmp_path / "plain", batching="grouped"))
    records, _ = train(job_of(tmp_path / "changed", **change))
    torch.testing.assert_close(losses(records), losses(expected), atol=1e-5, rtol=1e-5)


def test_mixed_precision_on_cpus_computes_in_bf16_on_weights_in_fp32(two_ranks, tmp_path):
    whole = two_ranks.run(train, job_of(tmp_path / "whole", precision="fp32"))[0][0]
    mixed = two_ranks.run(train, job_of(tmp_path / "mixed", precision="mixed"))[0][0]
    torch.testing.assert_close(losses(mixed), losses(whole), atol=0.05, rtol=0.05)
    assert not torch.equal(losses(mixed), losses(whole))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "mixed/train/model", dtype="auto")
    assert model.dtype == torch.float32


def test_frozen_weights_are_computed_with_in_bf16_and_written_as_they_were(
    two_ranks, tmp_path, tokenizer
):
    base = save_base(tmp_path / "base", tokenizer)
    section = {"mode": "toolkens", "model": {"base": str(base)}, "learning_rate": 0.1}
    whole = two_ranks.run(train, job_of(tmp_path / "whole", **section))[0][0]
    job = job_of(tmp_path / "mixed", **section, precision="mixed")
    mixed = two_ranks.run(train, job)[0][0]
    torch.testing.assert_close(losses(mixed), losses(whole), atol=2e-2, rtol=2e-2)
    assert not torch.equal(losses(mixed), losses(whole))
    before = AutoModelForCausalLM.from_pretrained(base).state_dict()
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "mixed/train/model").state_dict()
    assert len(before) == len(after)
    for name, weight in before.items():
        assert after[name].dtype == torch.float32
        # The toolkens' rows stand behind those of the base.
        assert torch.equal(after[name][: len(weight)], weight), name


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("mode", ["lora", "toolkens"])
def test_adapters_train_their_part_on_one_rank_and_two(two_ranks, tmp_path, tokenizer, mode, tied):
    base = str(save_base(tmp_path / "base", tokenizer, tied=tied))
    section = {"model": {"base": base}, "mode": mode}
    job = job_of(tmp_path / "alone", batching="grouped", **section)
    expected, figures = train(job)
    assert figures["trained_parameters"] < figures["parameters"] / 2
    assert expected[-1].loss < expected[0].loss

    sharded = job_of(tmp_path / "sharded", **section)
    records, figures = two_ranks.run(train, sharded)[0]
    assert figures["batching"] == "shared"
    torch.testing.assert_close(losses(records), losses(expected), atol=1e-5, rtol=1e-5)

    before = AutoModelForCausalLM.from_pretrained(base)
    for run in ("alone", "sharded"):
        after = AutoModelForCausalLM.from_pretrained(tmp_path / run / layout.TUNED_MODEL)
        assert type(after).__name__ == "LlamaForCausalLM"
        assert after.config.tie_word_embeddings is tied
        changed = after.get_input_embeddings().weight[: len(tokenizer)]
        assert torch.equal(changed, before.get_input_embeddings().weight)
        same = torch.equal(
            after.model.layers[0].mlp.up_proj.weight, before.model.layers[0].mlp.up_proj.weight
        )
        assert same is (mode == "toolkens")
    rows = [
        AutoModelForCausalLM.from_pretrained(tmp_path / run / layout.TUNED_MODEL)
        .get_output_embeddings()
        .weight[len(tokenizer) :]
        for run in ("alone", "sharded")
    ]
    torch.testing.assert_close(rows[0], rows[1], atol=1e-4, rtol=1e-4)
    head = before.get_output_embeddings().weight
    pieces = tokenizer(["weather", "report"], add_special_tokens=False)["input_ids"]
    start = head[[token for word in pieces for token in word]].mean(dim=0)
    assert not torch.allclose(rows[0][0], start, atol=0.005)


def test_the_export_gives_the_trainers_logits_and_says_what_it_is(two_ranks, tmp_path):
    script = AskedModel(model="scripted-teacher", kind="script")
    job = replace(job_of(tmp_path), explorer=script)
    records, figures = two_ranks.run(train, job)[0]
    folder = tmp_path / layout.TUNED_MODEL
    names = {path.name for path in folder.iterdir()}
    assert {
        "model.safetensors",
        "generation_config.json",
        "README.md",
        "toolkens.json",
        "tool_parser.py",
    } <= names
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.config.use_cache
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.config.vocab_size == len(tokenizer) == figures["vocabulary"]
    for name in TOOLS:
        (token_id,) = tokenizer(toolken(name), add_special_tokens=False)["input_ids"]
        assert tokenizer.decode([token_id], skip_special_tokens=True) == toolken(name)
        assert json.loads((folder / "toolkens.json").read_text())["tools"][name] == token_id
    card = (folder / "README.md").read_text()
    assert f"{records[-1].validation_loss:.4f} validation" in card
    assert "`weather report`" in card
    assert "26 tool_call" in card
    assert "| explored by | a script (the scripted teacher of ste-ray), not a language" in card

    # The validation loss of the last step is the one of the exported weights.
    tokenised = RowTokenizer(tokenizer, 256)
    total = count = 0
    for row in some_rows()[40:]:
        row = tokenised.tokenise(row)
        ids = torch.tensor([row.input_ids])
        labels = ids.clone()
        labels[0, : row.prompt_tokens] = -100
        with torch.no_grad():
            total += model(input_ids=ids, labels=labels).loss.item() * row.label_tokens
        count += row.label_tokens
    assert figures["validation_loss"] == pytest.approx(total / count, abs=1e-5)

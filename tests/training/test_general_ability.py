"""The loss on general rows that no training sees, of the base model and of the trained one."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ste_ray.core import layout
from ste_ray.core.records import Message, TrainRow
from ste_ray.core.scoring.general_ability import GeneralAbility
from ste_ray.core.toolkens import toolken
from ste_ray.training import rank
from ste_ray.training.examples import RowTokenizer
from tests.training.conftest import TOOLS
from tests.training.training_runs import job_of, losses, save_base, some_rows, train

BEFORE = "train/general_before.json"


def general(number, split="validation", response=""):
    return TrainRow(
        row_id=f"general{number:03d}",
        example_id="",
        tool="",
        kind="general",
        split=split,
        dialog_history=(Message(role="user", content=f"How about {'abc' * (number % 7)}?"),),
        response=response or f"It is {number}, {'no matter ' * (1 + number % 5)}what.",
    )


HELD_OUT = [general(number) for number in range(9)]
ROWS = [*some_rows(), *HELD_OUT, *(general(number, "train") for number in range(20, 30))]


def loss_of(folder, rows=HELD_OUT):
    """The number of label tokens and their mean loss, one row at a time, by transformers itself."""
    model, tokenizer = (
        kind.from_pretrained(folder) for kind in (AutoModelForCausalLM, AutoTokenizer)
    )
    total = count = 0
    for row in map(RowTokenizer(tokenizer, 256).tokenise, rows):
        ids = torch.tensor([row.input_ids])
        labels = ids.clone()
        labels[0, : row.prompt_tokens] = -100
        with torch.no_grad():
            total += model(input_ids=ids, labels=labels).loss.item() * row.label_tokens
        count += row.label_tokens
    return count, total / count


def agree(told, uri):
    tokens, before = loss_of(uri / layout.BASE_MODEL)
    _, after = loss_of(uri / layout.TUNED_MODEL)
    assert (told["rows"], told["label_tokens"]) == (9, tokens)
    assert told["loss_before"] == pytest.approx(before, abs=1e-4)
    assert told["loss_after"] == pytest.approx(after, abs=1e-4)
    assert told["perplexity_before"] == pytest.approx(math.exp(before), rel=1e-3)
    assert abs(before - after) > 0.1


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_the_figures_are_those_of_the_model_folders(two_ranks, tmp_path, tokenizer, mode):
    base = str(save_base(tmp_path / "base", tokenizer))
    section = {"model": {"base": base}, "mode": mode}
    alone = job_of(tmp_path / "alone", ROWS, batching="grouped", **section)
    agree(train(alone)[1]["general_ability"], tmp_path / "alone")

    results = two_ranks.run(train, job_of(tmp_path / "sharded", ROWS, **section))
    told = [figures["general_ability"] for _, figures in results]
    assert told[0] == told[1]
    agree(told[0], tmp_path / "sharded")
    card = (tmp_path / "sharded" / layout.TUNED_MODEL / "README.md").read_text()
    sentence = GeneralAbility.model_validate(told[0]).sentence
    assert f"| general ability | {sentence} |" in card
    assert sentence.startswith("loss on 9 general examples that no training saw: ")


def test_a_training_that_goes_on_tells_what_it_began_with(two_ranks, tmp_path):
    section = {"checkpoint_seconds": 0.0}
    expected, figures = train(job_of(tmp_path / "whole", ROWS, **section))
    train(job_of(tmp_path / "run", ROWS, **section), stop_after=4)
    rest, again = train(job_of(tmp_path / "run", ROWS, **section))
    assert [record.step for record in rest] == [4, 5, 6]
    assert again["general_ability"] == figures["general_ability"]
    assert torch.equal(losses(rest), losses(expected)[3:])

    # It is not measured again: what stands there is taken, by all ranks alike.
    train(job_of(tmp_path / "both", ROWS, **section), stop_after=4)
    job = job_of(tmp_path / "both", ROWS, **section)
    job.files.write_json(BEFORE, {"fingerprint": job.fingerprint, "loss": 1.25})
    for _, figures in two_ranks.run(train, job):
        assert figures["general_ability"]["loss_before"] == 1.25


def test_what_another_training_began_with_is_not_taken(tmp_path):
    job = job_of(tmp_path, ROWS)
    job.files.write_json(BEFORE, {"fingerprint": "another", "loss": 1.25})
    agree(train(job)[1]["general_ability"], tmp_path)
    assert job.files.read_json(BEFORE)["fingerprint"] == job.fingerprint


def test_a_training_is_the_same_without_held_out_rows_and_says_nothing(tmp_path):
    trained = [row for row in ROWS if row.split == "train"]
    records, figures = train(job_of(tmp_path / "none", trained))
    assert "general_ability" not in figures
    assert not (tmp_path / "none" / BEFORE).exists()
    assert "general ability" not in (tmp_path / "none/train/model/README.md").read_text()
    measured, figures = train(job_of(tmp_path / "some", [*trained, *HELD_OUT]))
    assert "general_ability" in figures
    assert [(one.loss, one.grad_norm) for one in measured] == [
        (one.loss, one.grad_norm) for one in records
    ]


def test_no_more_rows_are_measured_than_are_validated(tmp_path, monkeypatch):
    monkeypatch.setattr(rank, "MAX_VALIDATION_ROWS", 5)
    assert train(job_of(tmp_path, ROWS))[1]["general_ability"]["rows"] == 5


def test_a_row_that_the_base_model_has_no_tokens_for_is_left_out(tmp_path):
    odd = general(50, response=f"Action: {toolken(TOOLS[0])}")
    told = train(job_of(tmp_path, [*ROWS, odd]))[1]["general_ability"]
    agree(told, tmp_path)

import copy
import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from transformers import AutoModelForCausalLM, AutoTokenizer

from ste_ray.config import TrainConfig
from ste_ray.errors import TrainingError
from ste_ray.training.batches import collate, tokenise
from ste_ray.training.distributed import shard_model
from ste_ray.training.export import export_model
from ste_ray.training.loop import Trainer, learning_rate
from ste_ray.training.model import build_model
from ste_ray.training.tokenizer import train_tokenizer
from ste_ray.training.toolkens import add_toolkens
from tests.training.conftest import MODEL_CONFIG, TOOLS

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    examples_per_step=7,
    max_steps=6,
    batch_tokens=256,
    learning_rate=1e-2,
    warmup_fraction=0.2,
    weight_decay=0.1,
    max_grad_norm=0.5,
)


def make_model(tokenizer, tied=True):
    """Return a model with toolkens and its tokenizer; the given tokenizer stays as it is."""
    tokenizer = copy.deepcopy(tokenizer)
    model = build_model(MODEL_CONFIG, tokenizer, seed=0)
    if not tied:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() * 2)
    add_toolkens(model, tokenizer, TOOLS)
    return shard_model(model, CPU), tokenizer


def make_trainer(tokenizer, rows, config=CONFIG, tied=True):
    model, tokenizer = make_model(tokenizer, tied)
    return trainer_of(model, tokenizer, rows, config)


def trainer_of(model, tokenizer, rows, config=CONFIG):
    tokenised = [tokenise(row, tokenizer) for row in rows]
    return Trainer(
        model,
        rows=tokenised[:50],
        validation_rows=tokenised[50:],
        config=config,
        seed=3,
        pad_id=tokenizer.pad_token_id,
        device=CPU,
    )


def run(trainer):
    records = []
    summary = trainer.run(records.append)
    return records, summary


def figures(records):
    return [(r.loss, r.grad_norm, r.validation_loss or 0.0) for r in records]


def two_ranks(rank, port, folder, tokenizer, rows):
    torch.set_num_threads(1)
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2"
    )
    dist.init_process_group("gloo")
    batch = collate([tokenise(row, tokenizer) for row in rows[:3]], tokenizer.pad_token_id)
    results = {}
    for tied in (True, False):
        model, with_toolkens = make_model(tokenizer, tied)
        records, _ = run(trainer_of(model, with_toolkens, rows))
        export_model(model, with_toolkens, folder / f"tied-{tied}")
        with torch.no_grad():
            logits = model(input_ids=batch.input_ids).logits
        results[tied] = (figures(records), batch.input_ids, logits)
    torch.save(results, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def of_two_ranks(tmp_path_factory, texts, train_rows):
    """The folder of what two ranks wrote; one start of processes serves several tests."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tokenizer = train_tokenizer(texts, vocab_size=400, max_positions=256)
    mp.spawn(two_ranks, (port, folder, tokenizer, train_rows), nprocs=2)
    return folder


@pytest.mark.parametrize("tied", [True, False])
def test_two_sharded_ranks_train_like_one_process(of_two_ranks, tokenizer, train_rows, tied):
    ranks = [torch.load(of_two_ranks / f"rank{rank}.pt")[tied][0] for rank in (0, 1)]
    assert ranks[0] == ranks[1]
    expected, _ = run(make_trainer(tokenizer, train_rows, tied=tied))
    assert expected[-1].loss < expected[0].loss
    torch.testing.assert_close(
        torch.tensor(ranks[0]), torch.tensor(figures(expected)), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("tied", [True, False])
def test_the_export_of_two_ranks_loads_plainly_and_gives_their_logits(
    of_two_ranks, tokenizer, tied
):
    _, input_ids, logits = torch.load(of_two_ranks / "rank0.pt")[tied]
    folder = of_two_ranks / f"tied-{tied}"
    assert (folder / "model.safetensors").exists()
    assert (folder / "generation_config.json").exists()
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.config.use_cache
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == make_model(tokenizer)[1].get_vocab()
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    assert (head.weight.data_ptr() == embeddings.weight.data_ptr()) is tied
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=input_ids).logits, logits)


def test_the_size_of_micro_batches_changes_nothing(tokenizer, train_rows):
    by_size = []
    for batch_tokens in (64, 4096):
        config = CONFIG.model_copy(update={"batch_tokens": batch_tokens})
        records, _ = run(make_trainer(tokenizer, train_rows, config))
        by_size.append(torch.tensor(figures(records)))
    torch.testing.assert_close(by_size[0], by_size[1], atol=1e-5, rtol=1e-5)


def test_the_loss_is_that_of_the_model_itself(tokenizer, train_rows):
    model, tokenizer = make_model(tokenizer)
    trainer = trainer_of(model, tokenizer, train_rows)
    rows = [tokenise(train_rows[number], tokenizer) for number in trainer.plan.rows_of_step(0)]
    total, count = 0.0, 0
    for row in rows:
        ids = torch.tensor([row.input_ids])
        labels = ids.clone()
        labels[0, : row.prompt_tokens] = -100
        with torch.no_grad():
            total += model(input_ids=ids, labels=labels).loss.item() * row.label_tokens
        count += row.label_tokens
    record = trainer.train_step(0)
    assert record.loss == pytest.approx(total / count, abs=1e-5)
    assert (record.label_tokens, record.useful_tokens) == (
        count,
        sum(len(row.input_ids) for row in rows),
    )
    assert 0 <= record.padded_share < 0.5


def test_training_learns_and_sums_up(tokenizer, train_rows):
    config = CONFIG.model_copy(update={"max_steps": 30, "examples_per_step": 10})
    records, summary = run(make_trainer(tokenizer, train_rows, config))
    assert summary.train_loss < 0.6 * records[0].loss
    assert summary.validation_loss == records[-1].validation_loss
    assert summary.validation_loss < 0.7 * records[0].loss
    assert summary.label_tokens == sum(record.label_tokens for record in records)
    assert [r.step for r in records if r.validation_loss is not None] == list(range(3, 31, 3))
    assert [record.step for record in records] == list(range(1, 31))


def test_the_same_seed_gives_the_same_training(tokenizer, train_rows):
    first, _ = run(make_trainer(tokenizer, train_rows))
    again, _ = run(make_trainer(tokenizer, train_rows))
    assert figures(first) == figures(again)


def test_a_loss_that_is_no_number_names_step_and_rows(tokenizer, train_rows):
    model, tokenizer = make_model(tokenizer)
    trainer = trainer_of(model, tokenizer, train_rows)
    trainer.train_step(0)
    with torch.no_grad():
        model.get_input_embeddings().weight[:] = float("nan")
    with pytest.raises(TrainingError, match=r"loss is nan at step 2 of 6 \(rows row\d+, row"):
        trainer.train_step(1)


def test_validation_without_rows_is_no_number(tokenizer, train_rows):
    trainer = make_trainer(tokenizer, train_rows[:50])
    assert trainer.validation_loss() is None
    assert trainer.train_step(0, validate=True).validation_loss is None


def test_no_rows_are_refused(tokenizer):
    with pytest.raises(TrainingError, match="no row"):
        make_trainer(tokenizer, [])


def test_the_learning_rate_warms_up_and_falls_to_zero():
    rates = [learning_rate(step, 100, 2.0, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert max(rates) == rates[9] == rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.01
    assert learning_rate(0, 1, 2.0, 0.0) == 2.0


def test_weights_that_explode_stop_training(tokenizer, train_rows):
    config = CONFIG.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match=r"lower train\.learning_rate"):
        run(make_trainer(tokenizer, train_rows, config))

"""Packed rows behind a beginning that they share: the same losses and gradients as apart."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, BloomConfig, GPT2Config

from ste_ray.errors import ConfigError
from ste_ray.training import attention
from ste_ray.training.attention import can_share, use_packed_attention
from ste_ray.training.batches import divide_rows
from ste_ray.training.config import TrainConfig
from ste_ray.training.examples import TokenisedRow
from ste_ray.training.rank_model import RankModels
from tests.training.training_runs import ARCHITECTURES, SMALL

SYSTEM, OTHER = list(range(3, 33)), list(range(40, 70))


def rows_behind(beginning, lengths, name):
    """Rows that share ``beginning`` and nothing more, with three labels each."""
    generator = torch.Generator().manual_seed(len(name))
    return [
        TokenisedRow(
            f"{name}{number}",
            [*beginning, 100 + number, *torch.randint(3, 90, (length,), generator=generator)],
            len(beginning) + 1 + length - 3,
        )
        for number, length in enumerate(lengths)
    ]


# One of them is far longer than the others, and one kind has rows of another beginning.
ROWS = [
    *rows_behind(SYSTEM, [5, 40, 9, 6, 10, 12, 8], "call"),
    *rows_behind(OTHER, [7, 20, 8, 9, 5, 6], "other"),
    *rows_behind([], [11], "alone"),
]


def gradients(model, batching, batch_tokens=4096):
    """The loss and the gradient of one step, and its figures."""
    step = divide_rows(ROWS, batch_tokens, 0, 1, 0, batching)
    model.zero_grad()
    loss = torch.zeros(())
    for batch in step.micro_batches:
        logits = model(**batch.model_inputs()).logits
        loss = loss + cross_entropy(logits.float(), batch.targets, reduction="sum")
    loss.backward()
    grads = {name: one.grad.clone() for name, one in model.named_parameters()}
    return loss.detach(), grads, step


def build(architecture, **fields):
    torch.manual_seed(0)
    config = ARCHITECTURES[architecture](**{**SMALL, **fields}, vocab_size=128)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_a_shared_beginning_changes_no_gradient(architecture):
    model = build(architecture)
    loss, grads, grouped = gradients(model, "grouped")
    use_packed_attention(model)
    for batching, batch_tokens in itertools.product(("packed", "shared"), (4096, 128)):
        found, ours, step = gradients(model, batching, batch_tokens)
        torch.testing.assert_close(found, loss, atol=1e-5, rtol=1e-5)
        for name, one in grads.items():
            torch.testing.assert_close(ours[name], one, atol=1e-5, rtol=1e-5, msg=name)
        assert step.useful_tokens == grouped.useful_tokens
        assert (step.shared_tokens > 0) is (batching == "shared")


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma3"])
def test_short_rows_in_bf16_are_attended_as_torch_attends_in_fp32(architecture, monkeypatch):
    model = build(architecture, num_key_value_heads=2)
    use_packed_attention(model)
    loss, grads, _ = gradients(model, "shared")
    model.to(torch.bfloat16)
    by_products = Mock(wraps=attention._by_products)
    monkeypatch.setattr(attention, "_by_products", by_products)
    found, ours, _ = gradients(model, "shared")
    assert by_products.called
    torch.testing.assert_close(found, loss, atol=0.0, rtol=5e-3)
    monkeypatch.setattr(attention, "_SHORT_ROWS", 0)
    _, by_torch, _ = gradients(model, "shared")
    for name, one in grads.items():
        scale = one.norm()
        off, torchs = ((each[name] - one).norm() / scale for each in (ours, by_torch))
        assert off < max(0.05, 1.5 * torchs), name


def test_a_beginning_is_computed_once_a_pack():
    model = build("llama")
    use_packed_attention(model)
    _, _, step = gradients(model, "shared")
    assert step.shared_tokens == 6 * 30 + 5 * 30
    through = sum(batch.num_tokens for batch in step.micro_batches)
    assert through == step.total_tokens == step.computed_tokens
    seen = [int(batch.position_ids.max()) + 1 for batch in step.micro_batches]
    assert max(seen) == max(len(row.input_ids) for row in ROWS)


def test_dropout_shares_nothing():
    plain = build("llama")
    assert can_share(plain, plain.config)
    dropping = build("llama", attention_dropout=0.1)
    assert not can_share(dropping, dropping.config)
    adapted = torch.nn.Sequential(plain, torch.nn.Dropout(0.1))
    assert not can_share(adapted, plain.config)
    config = GPT2Config(n_layer=1, n_head=2, n_embd=8)  # drops by default
    assert not can_share(AutoModelForCausalLM.from_config(config), config)


def chosen(model, **section):
    """How rows are batched for a model under the section ``train``."""
    job = SimpleNamespace(config=TrainConfig.model_validate(section), precision="fp32")
    return RankModels(job, Path(), None, torch.device("cpu")).batching(model)


def test_auto_shares_on_a_cpu_where_that_is_surely_right():
    assert chosen(build("llama")) == "shared"
    assert chosen(build("llama"), compile=True) == "grouped"
    assert chosen(build("llama"), compile=True, batching="packed") == "shared"
    assert chosen(build("llama"), use_gpu=True) == "packed"
    assert chosen(build("llama", attention_dropout=0.1)) == "grouped"
    assert chosen(build("llama", attention_dropout=0.1), batching="packed") == "packed"
    plain = {"vocab_size": 128, "hidden_size": 16, "n_layer": 1, "n_head": 2}
    bloom = AutoModelForCausalLM.from_config(BloomConfig(**plain))  # attends in its own way
    assert chosen(bloom) == "grouped"
    with pytest.raises(ConfigError, match="cannot be packed"):
        chosen(bloom, batching="packed")

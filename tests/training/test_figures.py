import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3MoeConfig

from ste_ray.training.batches import StepBatch
from ste_ray.training.figures import FlopCounter, StepRecord, peak_flops, progress_line

SIZES = {
    "vocab_size": 100,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 4,
    "tie_word_embeddings": False,
}


def step(useful, labels, attended):
    return StepBatch((), labels, useful, useful, attended, ())


def record(**fields):
    values = {
        "step": 5,
        "num_steps": 10,
        "loss": 1.25,
        "learning_rate": 0.1,
        "grad_norm": 0.5,
        "label_tokens": 10,
        "useful_tokens": 90,
        "padded_share": 0.1,
        "seconds": 60.0,
        "useful_tokens_per_second": 1234.0,
        "tokens_per_second": 1371.0,
        "memory_bytes": 3 * 2**30,
        "workers": 2,
    }
    return StepRecord(**{**values, **fields})


def test_flops_are_counted_by_weights_labels_and_positions_seen():
    counter = FlopCounter(AutoModelForCausalLM.from_config(LlamaConfig(**SIZES)))
    body = 3 * (4 * 16 * 16 + 3 * 16 * 32 + 2 * 16) + 16
    assert counter.step(step(1, 0, 0)) == 6 * body
    assert counter.step(step(0, 1, 0)) == 6 * 100 * 16
    # Scores and weighted sum: 2 FLOPs each for 16 channels of 3 layers, and twice that backward.
    assert counter.step(step(0, 0, 1)) == 12 * 3 * 16
    shared = StepBatch((), 1, 5, 3, 1, (), shared_tokens=2)
    assert counter.step(shared) == counter.step(step(3, 1, 1))


def test_frozen_weights_and_idle_experts_cost_less():
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES))
    all_trained = FlopCounter(model).step(step(1, 0, 0))
    for parameter in list(model.parameters())[:-2]:
        parameter.requires_grad = False
    assert FlopCounter(model).step(step(1, 0, 0)) == pytest.approx(all_trained * 4 / 6)

    experts = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
    config = Qwen3MoeConfig(**SIZES, **experts, mlp_only_layers=[])
    active = FlopCounter(AutoModelForCausalLM.from_config(config)).step(step(1, 0, 0)) / 6
    per_layer = 4 * 16 * 16 + 16 * 8 + 2 * 16 + 2 * 4 + 2 * 3 * 16 * 8
    assert active == pytest.approx(3 * per_layer + 16)


def test_a_cpu_has_no_peak():
    assert peak_flops(torch.device("cpu")) is None


def test_a_line_tells_how_it_goes():
    line = progress_line(record())
    assert line == (
        "train: step 5/10 loss 1.2500, gradient 0.50, 1,234 tokens/s (10% padding), 3.0 GiB,"
        " about 5 min left"
    )
    line = progress_line(record(validation_loss=1.5, mfu=0.456, seconds=2000.0))
    assert "loss 1.2500 (validation 1.5000)" in line
    assert "MFU 46%" in line
    assert line.endswith("about 2.8 h left")

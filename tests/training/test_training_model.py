import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    MistralConfig,
    MixtralConfig,
    Qwen3Config,
)

from ste_ray.errors import ConfigError
from ste_ray.training.config import ModelConfig
from ste_ray.training.export import save_model
from ste_ray.training.model import (
    build_model,
    check_positions,
    load_model,
    num_parameters,
    transformer_layers,
)

SMALL = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
}


def test_the_same_seed_builds_the_same_weights(tokenizer, model_config):
    state = torch.get_rng_state()
    first, again, other = (build_model(model_config, tokenizer, seed) for seed in (0, 0, 1))
    weights = [model.get_input_embeddings().weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_are_written_for_whoever_may_read_the_rest(tokenizer, tmp_path):
    save_model(build_model(ModelConfig(), tokenizer, seed=0), tokenizer, tmp_path)
    assert list(tmp_path.glob("*.safetensors"))
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1


def test_the_model_has_the_configured_size(tokenizer):
    model = build_model(ModelConfig(), tokenizer, seed=0)
    assert len(transformer_layers(model)) == 2
    assert model.config.vocab_size == len(tokenizer)
    layer = 4 * 128 * 128 + 3 * 128 * 344 + 2 * 128
    assert num_parameters(model) == 2 * layer + 128 + len(tokenizer) * 128


def test_a_hidden_size_that_does_not_divide_is_refused(tokenizer):
    with pytest.raises(ConfigError, match=r"hidden_size=100 .*num_heads=3"):
        build_model(ModelConfig(hidden_size=100, num_heads=3), tokenizer, seed=0)


@pytest.mark.parametrize(
    "config",
    [
        MistralConfig(**SMALL),
        Qwen3Config(**SMALL),
        GemmaConfig(**SMALL),
        MixtralConfig(**SMALL, num_local_experts=3, num_experts_per_tok=2),
    ],
    ids=lambda config: config.model_type,
)
def test_layers_are_found_in_other_architectures(config):
    model = AutoModelForCausalLM.from_config(config)
    names = {type(layer).__name__ for layer in transformer_layers(model)}
    assert len(transformer_layers(model)) == 3
    assert len(names) == 1
    assert names.pop().endswith("DecoderLayer")


def test_a_saved_model_loads(tokenizer, model_config, tmp_path):
    model = build_model(model_config, tokenizer, seed=0)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.dtype == torch.float32
    assert num_parameters(loaded) == num_parameters(model)


def test_a_missing_folder_is_one_clear_error(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.model\.base=.*missing") as caught:
        load_model(tmp_path / "missing")
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_safetensors_are_refused(tokenizer, model_config, tmp_path):
    model = build_model(model_config, tokenizer, seed=0)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="safetensors"):
        load_model(tmp_path)


def test_rows_longer_than_the_positions_are_refused(tokenizer, model_config):
    model = build_model(model_config, tokenizer, seed=0)
    check_positions(model, 256)
    with pytest.raises(ConfigError, match=r"max_tokens=257 exceeds the 256 positions"):
        check_positions(model, 257)

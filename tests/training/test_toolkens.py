import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ste_ray.core.toolkens import toolken
from ste_ray.errors import TrainingError
from ste_ray.training.model import build_model
from ste_ray.training.toolkens import add_tokens, add_toolkens

NAMES = ["weather report", "get_time", "Größe%%[v2]", "a & b - c", "x>y", "tool_"]


def untie(model):
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() * 2)


@pytest.mark.parametrize("tied", [True, False])
def test_rows_start_as_the_mean_of_the_names_sub_tokens(tokenizer, model_config, tied):
    model = build_model(model_config, tokenizer, seed=0)
    if not tied:
        untie(model)
    before = [
        model.get_input_embeddings().weight.detach().clone(),
        model.get_output_embeddings().weight.detach().clone(),
    ]
    pieces = [*tokenizer("get")["input_ids"], *tokenizer("time")["input_ids"]]
    ids = add_toolkens(model, tokenizer, NAMES)
    after = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    assert (after[0].data_ptr() == after[1].data_ptr()) is tied
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new[: len(old)], old)
        torch.testing.assert_close(new[ids["get_time"]], old[pieces].mean(dim=0))
        assert len(new) == len(tokenizer) == model.config.vocab_size


def test_mean_of_all_is_the_other_start(tokenizer, model_config):
    model = build_model(model_config, tokenizer, seed=0)
    mean = model.get_input_embeddings().weight.detach().mean(dim=0)
    ids = add_toolkens(model, tokenizer, ["get_time"], init="mean")
    torch.testing.assert_close(model.get_input_embeddings().weight[ids["get_time"]], mean)


def test_each_toolken_is_one_token_that_decodes_to_itself(tokenizer, model_config, tmp_path):
    ids = add_toolkens(build_model(model_config, tokenizer, seed=0), tokenizer, NAMES)
    tokenizer.save_pretrained(tmp_path)
    for candidate in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        for name in NAMES:
            text = f"Action: {toolken(name)}\nAction Input"
            encoded = candidate(text, add_special_tokens=False)["input_ids"]
            assert encoded.count(ids[name]) == 1
            assert candidate.decode(encoded, skip_special_tokens=True) == text
            assert candidate.decode([ids[name]], skip_special_tokens=True) == toolken(name)


def test_adding_later_keeps_trained_rows(tokenizer, model_config):
    model = build_model(model_config, tokenizer, seed=0)
    first = add_toolkens(model, tokenizer, ["get_time"])
    with torch.no_grad():
        model.get_input_embeddings().weight[first["get_time"]] = 7.0
    second = add_toolkens(model, tokenizer, ["get_time", "weather report", "get_time"])
    assert second["get_time"] == first["get_time"]
    assert model.get_input_embeddings().weight[second["get_time"]].eq(7.0).all()
    assert model.get_input_embeddings().weight[second["weather report"]].ne(7.0).all()


def test_a_padded_vocabulary_is_not_shrunk(tokenizer, model_config):
    model = build_model(model_config, tokenizer, seed=0)
    model.resize_token_embeddings(len(tokenizer) + 64, mean_resizing=False)
    ids = add_toolkens(model, tokenizer, ["get_time"])
    assert len(model.get_input_embeddings().weight) == len(tokenizer) - 1 + 64
    expected = tokenizer("get")["input_ids"] + tokenizer("time")["input_ids"]
    weight = model.get_input_embeddings().weight
    torch.testing.assert_close(weight[ids["get_time"]], weight[expected].mean(dim=0))


def test_a_toolken_that_the_tokenizer_would_garble_is_refused():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel()
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert add_tokens(tokenizer, ["size"])["size"] >= 0
    with pytest.raises(TrainingError, match="'<tool_Größe>'"):
        add_tokens(tokenizer, ["Größe"])

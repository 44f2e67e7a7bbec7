import json

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ste_ray.core.toolkens import toolken
from ste_ray.errors import ConfigError, TrainingError
from ste_ray.training.model import build_model
from ste_ray.training.toolkens import (
    add_rows,
    add_toolkens,
    num_rows,
    read_toolkens,
    write_toolkens,
)

NAMES = ["weather report", "get_time", "Größe%%[v2]", "a & b - c", "x>y", "tool_"]
TOOLS = {name: f"It tells the {name} of somewhere." for name in NAMES}


def untie(model):
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() * 2)


def rows_of(model):
    return [model.get_input_embeddings().weight, model.get_output_embeddings().weight]


@pytest.mark.parametrize("tied", [True, False])
def test_rows_start_as_the_mean_of_the_names_sub_tokens(tokenizer, model_config, tied):
    model = build_model(model_config, tokenizer, seed=0)
    if not tied:
        untie(model)
    before = [weight.detach().clone() for weight in rows_of(model)]
    pieces = [*tokenizer("get")["input_ids"], *tokenizer("time")["input_ids"]]
    vocabulary = add_toolkens(tokenizer, TOOLS)
    add_rows(model, vocabulary)
    after = rows_of(model)
    assert (after[0].data_ptr() == after[1].data_ptr()) is tied
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new[: len(old)], old)
        torch.testing.assert_close(new[vocabulary.ids["get_time"]], old[pieces].mean(dim=0))
        assert len(new) == len(tokenizer) == model.config.vocab_size


def test_the_description_and_the_mean_of_all_are_other_starts(tokenizer, model_config):
    model = build_model(model_config, tokenizer, seed=0)
    before = model.get_input_embeddings().weight.detach().clone()
    described = tokenizer(TOOLS["get_time"], add_special_tokens=False)["input_ids"]
    vocabulary = add_toolkens(tokenizer, {"get_time": TOOLS["get_time"]}, init="description")
    add_rows(model, vocabulary)
    row = model.get_input_embeddings().weight[vocabulary.ids["get_time"]]
    torch.testing.assert_close(row, before[described].mean(dim=0))

    vocabulary = add_toolkens(tokenizer, {"x>y": ""}, known=vocabulary.ids, init="mean")
    all_rows = model.get_input_embeddings().weight.detach().clone()
    add_rows(model, vocabulary)
    row = model.get_input_embeddings().weight[vocabulary.ids["x>y"]]
    torch.testing.assert_close(row, all_rows.mean(dim=0))


def test_a_tool_without_description_starts_from_its_name(tokenizer):
    by_name = add_toolkens(tokenizer, {"get_time": ""}, init="description").new["get_time"]
    assert by_name == [*tokenizer("get")["input_ids"], *tokenizer("time")["input_ids"]]


def test_each_toolken_is_one_token_that_decodes_to_itself(tokenizer, tmp_path):
    ids = add_toolkens(tokenizer, TOOLS).ids
    tokenizer.save_pretrained(tmp_path)
    for candidate in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        for name in NAMES:
            text = f"Action: {toolken(name)}\nAction Input"
            encoded = candidate(text, add_special_tokens=False)["input_ids"]
            assert encoded.count(ids[name]) == 1
            assert candidate.decode(encoded, skip_special_tokens=True) == text
            assert candidate.decode([ids[name]], skip_special_tokens=True) == toolken(name)


def test_adding_later_keeps_trained_rows(tokenizer, model_config, tmp_path):
    model = build_model(model_config, tokenizer, seed=0)
    first = add_toolkens(tokenizer, {"get_time": ""})
    add_rows(model, first)
    write_toolkens(tmp_path, first)
    with torch.no_grad():
        model.get_input_embeddings().weight[first.ids["get_time"]] = 7.0
    known, retired = read_toolkens(tmp_path)
    second = add_toolkens(
        tokenizer, {"get_time": "", "weather report": ""}, known=known, retired=retired
    )
    add_rows(model, second)
    assert second.ids["get_time"] == first.ids["get_time"]
    assert list(second.new) == ["weather report"]
    weight = model.get_input_embeddings().weight
    assert weight[second.ids["get_time"]].eq(7.0).all()
    assert weight[second.ids["weather report"]].ne(7.0).all()


def test_a_tool_that_is_not_among_the_new_ones_stays_in_use(tokenizer):
    first = add_toolkens(tokenizer, {"get_time": ""})
    second = add_toolkens(tokenizer, {"x>y": ""}, known=first.ids)
    assert second.ids == {**first.ids, "x>y": first.ids["get_time"] + 1}


def test_retiring_changes_nothing_else_of_the_tokenizer(tokenizer):
    first = add_toolkens(tokenizer, TOOLS)
    gone = first.ids["get_time"]
    before = json.loads(tokenizer.backend_tokenizer.to_str())
    others = {name: text for name, text in TOOLS.items() if name != "get_time"}
    add_toolkens(tokenizer, others, known=first.ids, retire=["get_time"])
    after = json.loads(tokenizer.backend_tokenizer.to_str())
    [changed] = [one for one in after["added_tokens"] if one not in before["added_tokens"]]
    assert changed["id"] == gone
    changed["content"] = toolken("get_time")
    assert after == before
    assert tokenizer.convert_ids_to_tokens(gone) == f"<retired_toolken_{gone}>"


def test_a_retired_tool_loses_row_and_text_but_nobody_elses_id_moves(
    tokenizer, model_config, tmp_path
):
    model = build_model(model_config, tokenizer, seed=0)
    first = add_toolkens(tokenizer, TOOLS)
    add_rows(model, first)
    others = {name: text for name, text in TOOLS.items() if name != "get_time"}
    mean_of_all = model.get_input_embeddings().weight.detach().mean(dim=0)
    second = add_toolkens(tokenizer, others, known=first.ids, retire=["get_time"])
    add_rows(model, second)
    gone = first.ids["get_time"]
    assert second.retired == (gone,)
    assert second.ids == {name: first.ids[name] for name in others}
    weight = model.get_input_embeddings().weight
    torch.testing.assert_close(weight[gone], mean_of_all)
    tokenizer.save_pretrained(tmp_path)
    write_toolkens(tmp_path, second)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for candidate in (tokenizer, loaded):
        assert gone not in candidate(toolken("get_time"), add_special_tokens=False)["input_ids"]
        for name in others:
            assert candidate(toolken(name))["input_ids"] == [first.ids[name]]
    # Coming back, it begins anew.
    known, retired = read_toolkens(tmp_path)
    third = add_toolkens(loaded, TOOLS, known=known, retired=retired)
    assert third.ids["get_time"] == third.num_tokens - 1 > gone
    assert third.retired == (gone,)


@pytest.mark.parametrize(
    ("retire", "message"),
    [("x>y", "among the tools to train"), ("none", r"has no toolken for it; it has get_time")],
)
def test_what_cannot_be_retired_is_refused(tokenizer, retire, message):
    known = add_toolkens(tokenizer, {"get_time": ""}).ids
    with pytest.raises(ConfigError, match=message):
        add_toolkens(tokenizer, {"x>y": ""}, known=known, retire=[retire])


def test_a_token_that_no_list_of_toolkens_knows_is_refused(tokenizer):
    tokenizer.add_tokens([toolken("get_time")])
    with pytest.raises(ConfigError, match=r"already has the token '<tool_get_time>'"):
        add_toolkens(tokenizer, {"get_time": ""})


def test_a_damaged_list_of_toolkens_is_refused(tmp_path):
    assert read_toolkens(tmp_path) == ({}, [])
    (tmp_path / "toolkens.json").write_text('{"tools": [1]}')
    with pytest.raises(ConfigError, match=r"toolkens\.json' is no list of toolkens"):
        read_toolkens(tmp_path)


def test_a_padded_vocabulary_is_not_shrunk(tokenizer, model_config):
    model = build_model(model_config, tokenizer, seed=0)
    model.resize_token_embeddings(len(tokenizer) + 64, mean_resizing=False)
    vocabulary = add_toolkens(tokenizer, {"get_time": ""})
    add_rows(model, vocabulary)
    weight = model.get_input_embeddings().weight
    assert len(weight) == len(tokenizer) - 1 + 64
    expected = tokenizer("get")["input_ids"] + tokenizer("time")["input_ids"]
    row = weight[vocabulary.ids["get_time"]]
    torch.testing.assert_close(row, weight[expected].mean(dim=0))


def test_a_large_vocabulary_stays_a_multiple_that_gpus_like():
    assert num_rows(32_000, 32_050) == 32_064
    assert num_rows(32_064, 32_050) == 32_064
    assert num_rows(50_257, 50_300) == 50_300
    assert num_rows(512, 515) == 515


def test_a_toolken_that_the_tokenizer_would_garble_is_refused():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel()
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert add_toolkens(tokenizer, {"size": ""}).ids["size"] >= 0
    with pytest.raises(TrainingError, match="'<tool_Größe>'"):
        add_toolkens(tokenizer, {"Größe": ""})

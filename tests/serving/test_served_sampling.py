"""How tokens are chosen: what a request says, else its folder, else as OpenAI has it."""

from __future__ import annotations

import pytest
import torch
from transformers import GenerationConfig, SequenceBiasLogitsProcessor

from ste_ray.serving.penalties import Penalties
from ste_ray.serving.requests import ChatRequest
from ste_ray.serving.sampling import asked_config, served_config, with_biases

GREEDY = GenerationConfig()
DRAWN = GenerationConfig(do_sample=True, temperature=0.7, top_p=0.9, top_k=20)


def asked(own, **fields):
    messages = [{"role": "user", "content": "x"}]
    return asked_config(own, ChatRequest(model="m", messages=messages, **fields))


def drawn(config):
    """Temperature, top_p and top_k by which tokens are drawn; None: the likeliest is taken."""
    found = config.temperature, config.top_p, config.top_k
    assert bool(config.do_sample) or found == (None, None, None)
    return found if config.do_sample else None


@pytest.mark.parametrize(
    ("own", "fields", "found"),
    [
        (GREEDY, {}, None),
        (DRAWN, {}, (0.7, 0.9, 20)),
        (GREEDY, {"temperature": 1}, (1.0, None, 0)),  # not of the 50 likeliest alone
        (GREEDY, {"temperature": 0.5, "top_p": 0.3}, (0.5, 0.3, 0)),
        (DRAWN, {"temperature": 1.5}, (1.5, 0.9, 20)),
        (DRAWN, {"temperature": 0}, None),
        (DRAWN, {"temperature": 0, "top_p": 0.5}, None),
        # Below what logits can be divided by.
        (GREEDY, {"temperature": 1e-9}, None),
        (DRAWN, {"temperature": 5e-324}, None),
        # The temperature of OpenAI is 1, unless the folder has another.
        (GREEDY, {"top_p": 0.3}, (None, 0.3, 0)),
        (DRAWN, {"top_p": 0.3}, (0.7, 0.3, 20)),
        (GREEDY, {"top_p": 1}, None),
        (DRAWN, {"top_p": 1}, (0.7, 1.0, 20)),
        (GenerationConfig(do_sample=True, temperature=0.0), {}, None),
    ],
)
def test_how_tokens_are_drawn(own, fields, found):
    before = own.to_dict()
    assert drawn(asked(own, **fields)) == found
    assert own.to_dict() == before


def test_of_a_folder_only_what_chooses_tokens_holds():
    own = GenerationConfig(
        num_beams=4,
        num_return_sequences=2,
        early_stopping=True,
        do_sample=True,
        temperature=2,
        repetition_penalty=1.2,
        suppress_tokens=[3],
        max_length=7,
        min_length=50,
        stop_strings=["x"],
        return_dict_in_generate=True,
        output_scores=True,
        prompt_lookup_num_tokens=3,
        cache_implementation="static",
        use_cache=False,
        max_time=0.1,
    )
    found = served_config(own)
    assert (found.do_sample, found.temperature, found.suppress_tokens) == (True, 2.0, [3])
    assert isinstance(found.temperature, float)  # of others transformers takes none
    assert found.repetition_penalty == 1.2
    unset = GenerationConfig().to_dict()
    kept = {"do_sample", "temperature", "suppress_tokens", "repetition_penalty"}
    assert {name: value for name, value in found.to_dict().items() if name not in kept} == {
        name: value for name, value in unset.items() if name not in kept
    }


def test_penalties_count_the_tokens_of_the_reply_alone():
    ids = torch.tensor([[4, 4, 1, 2, 2]])
    scores = Penalties(2, frequency=0.5, presence=0.25)(ids, torch.zeros(1, 6))
    assert scores.tolist() == [[0.0, -0.75, -1.25, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("own", [{(5,): 1.5, (6, 7): -2.0}, [[[5], 1.5], [[6, 7], -2]]])
def test_biases_of_a_request_come_on_top_of_those_of_the_folder(own):
    found = with_biases(own, {5: -4.0, 8: 3.0})
    assert found == [[[5], -2.5], [[6, 7], -2.0], [[8], 3.0]]
    config = GenerationConfig(sequence_bias=found)
    config.validate(strict=True)
    process = SequenceBiasLogitsProcessor(config.sequence_bias)
    scores = process(torch.tensor([[1, 6]]), torch.zeros(1, 10))
    assert scores[0].tolist() == [0, 0, 0, 0, 0, -2.5, 0, -2.0, 3.0, 0]
    assert with_biases(None, {1: 2.0}) == [[[1], 2.0]]


def test_a_request_keeps_the_biases_of_the_folder(native_model):
    own = native_model.model.generation_config
    body = {"model": "mine", "messages": [{"role": "user", "content": "x"}], "logit_bias": {"3": 1}}
    own.sequence_bias = [[[2], -5.0]]
    try:
        wanted = native_model.asked(ChatRequest.model_validate(body))
        assert wanted.config.sequence_bias == [[[2], -5.0], [[3], 1.0]]
        assert own.sequence_bias == [[[2], -5.0]]
    finally:
        own.sequence_bias = None

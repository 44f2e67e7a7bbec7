"""Prompts with shared beginnings: computed once, and answered as if they were not."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
import torch
import transformers
from transformers import PreTrainedTokenizerFast

from ste_ray.generation.branches import branch_points
from ste_ray.generation.decode import Decoding, generate
from ste_ray.generation.key_values import key_value_layout
from ste_ray.generation.model import LocalModel
from ste_ray.generation.prefill import Prefixes

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
GROUPED = {**SMALL, "num_key_value_heads": 2, "head_dim": 16}
# Architectures that differ in where tokens stand and in what a layer sees of them.
SHARING: dict[str, tuple[str, dict[str, Any]]] = {
    "grouped heads": ("Llama", GROUPED),
    "learned positions": ("GPT2", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512}),
    "parallel, part rotated": ("GPTNeoX", SMALL),
    "sliding window": ("Mistral", {**GROUPED, "sliding_window": 24}),
    "window in some layers": ("Gemma3Text", {**GROUPED, "sliding_window": 24}),
    "experts": (
        "Qwen3Moe",
        {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    ),
}
APART: dict[str, tuple[str, dict[str, Any]]] = {
    "recurrent": ("Mamba", {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8}),
    "linear attention in some layers": (
        "Qwen3Next",
        {
            **GROUPED,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
        },
    ),
    "no position ids": ("Bloom", {"hidden_size": 64, "n_layer": 2, "n_head": 4}),
    "rotation by length": (
        "Llama",
        {**GROUPED, "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
    ),
}


def made(
    kind: tuple[str, dict[str, Any]], tokenizer: PreTrainedTokenizerFast, seed: int = 0
) -> LocalModel:
    name, options = kind
    torch.manual_seed(seed)
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = getattr(transformers, f"{name}Config")(vocab_size=len(tokenizer), **options, **special)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:  # or a random model says one token for ever
            torch.nn.init.normal_(parameter, std=0.2)
    return LocalModel(
        model=model,
        tokenizer=tokenizer,
        device=torch.device("cpu"),
        pad_token_id=0,
        eos_token_ids=(2,),
        max_positions=512,
        num_logits=len(tokenizer),
        layout=key_value_layout(model),
    )


def related_prompts(vocab_size: int, count: int = 24, scale: int = 1) -> list[list[int]]:
    """Prompts of a tree: a common beginning, one of three next ones, one of two, and their own."""
    rng = random.Random(3)

    def tokens(least: int, most: int) -> list[int]:
        return [rng.randrange(3, vocab_size) for _ in range(rng.randint(least, most))]

    common = tokens(20 * scale, 20 * scale)
    middle = [tokens(10 * scale, 40 * scale) for _ in range(3)]
    ends = [[tokens(5 * scale, 30 * scale) for _ in range(2)] for _ in middle]
    prompts = []
    for number in range(count):
        branch = number % 3
        prompts.append(common + middle[branch] + ends[branch][rng.randrange(2)] + tokens(1, 40))
    # One that shares nothing, a prompt twice, a beginning of another, and one of a single token.
    return [*prompts, tokens(70, 70), prompts[0], prompts[1][:-5], [7]]


def apart(model: LocalModel) -> LocalModel:
    """The same model, decoded without anything shared."""
    return dataclasses.replace(model, layout=None)


@pytest.mark.parametrize("kind", SHARING.values(), ids=SHARING.keys())
def test_answers_are_those_of_prompts_computed_apart(
    kind: tuple[str, dict[str, Any]], tokenizer: PreTrainedTokenizerFast
) -> None:
    model = made(kind, tokenizer)
    assert model.layout is not None
    prompts = related_prompts(len(tokenizer))
    prefixes = Prefixes(model)
    decoding = Decoding(max_new_tokens=24, batch_size=7)
    expected = generate(apart(model), prompts, decoding)
    assert len({one.text for one in expected}) > len(prompts) // 2
    assert generate(model, prompts, decoding, prefixes=prefixes) == expected
    assert prefixes.computed_tokens < 0.8 * sum(map(len, prompts))
    # What is kept serves the next call.
    before = prefixes.computed_tokens
    assert generate(model, prompts, decoding, prefixes=prefixes) == expected
    assert prefixes.computed_tokens - before < before


@pytest.mark.parametrize("kind", APART.values(), ids=APART.keys())
def test_models_that_keep_or_place_tokens_otherwise_share_nothing(
    kind: tuple[str, dict[str, Any]], tokenizer: PreTrainedTokenizerFast
) -> None:
    model = made(kind, tokenizer)
    assert model.layout is None
    prefixes = Prefixes(model)
    found = generate(
        model, related_prompts(len(tokenizer), 5), Decoding(max_new_tokens=3), prefixes=prefixes
    )
    assert all(one.num_tokens for one in found)
    assert prefixes.computed_tokens == 0


def test_models_with_code_of_their_own_share_nothing(random_model: LocalModel) -> None:
    class Odd(transformers.LlamaForCausalLM):
        pass

    assert random_model.layout is not None
    assert key_value_layout(Odd(random_model.model.config)) is None


@pytest.mark.parametrize("top_p", [1.0, 0.7])
def test_sampled_answers_are_the_same(random_model: LocalModel, top_p: float) -> None:
    ends = tuple(range(3, 30))  # so many that rows end at different times
    random_model = dataclasses.replace(random_model, eos_token_ids=ends)
    prompts = related_prompts(len(random_model.tokenizer))
    decoding = Decoding(max_new_tokens=24, batch_size=9, temperature=1.0, top_p=top_p, seed=5)
    expected = generate(apart(random_model), prompts, decoding)
    assert len({one.num_tokens for one in expected}) > 5
    assert generate(random_model, prompts, decoding) == expected


def test_keys_and_values_equal_those_of_a_whole_pass(random_model: LocalModel) -> None:
    layout = random_model.layout
    assert layout is not None
    prompts = related_prompts(len(random_model.tokenizer))
    prefixes = Prefixes(random_model)
    prefixes.expect(prompts)
    with torch.inference_mode():
        room = prefixes.room_of(layout, prompts, max_new=3)
        for row, prompt in enumerate(prompts[:-1]):
            cache = transformers.DynamicCache()
            random_model.model(torch.tensor([prompt[:-1]]), past_key_values=cache)
            for (keys, values), layer in zip(room.layers, cache.layers, strict=True):
                start = keys.shape[2] - 3 - len(prompt) + 1
                for ours, theirs in ((keys, layer.keys), (values, layer.values)):
                    torch.testing.assert_close(ours[row, :, start:-3], theirs[0])
                    assert not ours[row, :, :start].any()


class CountingCalls:
    """A model that notes how many rows each step of decoding has."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.rows: list[int] = []
        model.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, _: Any, args: Any, options: dict[str, Any]) -> None:
        if options["input_ids"].shape[1] == 1:
            self.rows.append(len(options["input_ids"]))

    def __call__(self, **options: Any) -> Any:
        return self._model(**options)

    def generate(self, **options: Any) -> Any:
        return self._model.generate(**options)


def test_rows_that_have_ended_are_taken_out(
    taught_model: LocalModel, lessons: dict[str, str]
) -> None:
    tokenizer = taught_model.tokenizer
    prompts = [[tokenizer.bos_token_id, *tokenizer.encode(prompt)] for prompt in lessons]
    decoding = Decoding(max_new_tokens=120, stop_texts=())
    expected = generate(apart(taught_model), prompts, decoding)
    counting = CountingCalls(taught_model.model)
    told: list[int] = []
    watched = dataclasses.replace(taught_model, model=counting)
    assert generate(watched, prompts, decoding, on_tokens=told.append) == expected
    assert sum(told) == sum(one.num_tokens for one in expected)
    lengths = sorted(one.num_tokens for one in expected)
    # Four rows until two have ended, then two until one has, then one.
    assert counting.rows == sorted(counting.rows, reverse=True)
    assert [counting.rows.count(rows) for rows in (4, 2, 1)] == [
        lengths[1],
        lengths[2] - lengths[1],
        lengths[3] - lengths[2],
    ]


def test_what_is_kept_is_bounded(random_model: LocalModel) -> None:
    layout = random_model.layout
    assert layout is not None
    prompts = related_prompts(len(random_model.tokenizer), 60, scale=2)
    decoding = Decoding(max_new_tokens=4, batch_size=8)
    expected = generate(apart(random_model), prompts, decoding)
    computed = []
    for tokens in (0, 60, 100_000):
        prefixes = Prefixes(random_model, max_bytes=tokens * layout.bytes_per_token)
        assert generate(random_model, prompts, decoding, prefixes=prefixes) == expected
        assert prefixes.kept_bytes <= tokens * layout.bytes_per_token
        computed.append(prefixes.computed_tokens)
    assert computed[0] > computed[1] > computed[2]
    prefixes.clear()
    assert prefixes.kept_bytes == 0


def test_every_pass_over_prompts_is_told(random_model: LocalModel) -> None:
    passes: list[int] = []
    prefixes = Prefixes(random_model, on_pass=lambda: passes.append(prefixes.computed_tokens))
    prompts = related_prompts(len(random_model.tokenizer))
    generate(random_model, prompts, Decoding(max_new_tokens=1), prefixes=prefixes)
    assert len(passes) > 3
    assert passes == sorted(set(passes))


def test_branch_points_are_where_enough_is_saved() -> None:
    prompts = [
        [1, 2, 3, 4, 5, 6],
        [1, 2, 3, 4, 5, 7],
        [1, 2, 3, 8],
        [1, 9],
        [4],
    ]
    assert branch_points(prompts, min_saved=1) == [(1, 3, 5), (1, 3, 5), (1, 3), (1,), ()]
    # The first one spares three tokens, what lies beyond it four and two.
    assert branch_points(prompts, min_saved=3) == [(1, 3), (1, 3), (1, 3), (1,), ()]
    # Left out, it counts for what lies beyond.
    assert branch_points(prompts, min_saved=4) == [(3,), (3,), (3,), (), ()]
    assert branch_points(prompts, min_saved=7) == [()] * 5
    # The last token is always left to compute.
    assert branch_points([[1, 2, 3], [1, 2, 3]], min_saved=1) == [(2,), (2,)]
    assert branch_points([[1, 2, 3], [1, 2]], min_saved=1) == [(1,), (1,)]
    assert branch_points([], min_saved=1) == []


def test_many_prompts_of_a_long_chain_are_no_deep_recursion() -> None:
    prompts = [[1] * length for length in range(1, 1500)]
    assert len(branch_points(prompts, min_saved=1)[-1]) == 1497

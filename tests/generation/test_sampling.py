"""Sampling: true to the distribution, and the same whatever batch a row stands in."""

from __future__ import annotations

import torch

from ste_ray.generation.decode import Decoding, generate
from ste_ray.generation.model import LocalModel
from ste_ray.generation.sampling import GumbelSampling


def draws(logits: list[float], number: int, temperature: float, top_p: float) -> list[float]:
    """The share of draws of each token."""
    rows = torch.tensor([logits]).expand(number, -1)
    sampling = GumbelSampling(temperature, top_p, [str(place) for place in range(number)])
    chosen = sampling(torch.zeros(number, 0), rows).argmax(dim=-1)
    return [float((chosen == token).float().mean()) for token in range(len(logits))]


def test_draws_follow_the_softmax():
    logits = [2.0, 1.0, 0.0, -1.0]
    for temperature in (0.5, 1.0, 2.0):
        expected = torch.softmax(torch.tensor(logits) / temperature, dim=0).tolist()
        found = draws(logits, 20_000, temperature, 1.0)
        assert all(abs(one - other) < 0.015 for one, other in zip(found, expected, strict=True))


def test_the_nucleus_is_the_likeliest_that_reach_the_share():
    # Shares .64, .24, .09, .03: .64 alone is short of .7, so two are kept.
    found = draws([2.0, 1.0, 0.0, -1.0], 5_000, 1.0, 0.7)
    assert found[2] == found[3] == 0
    assert 0.69 < found[0] < 0.76
    assert draws([2.0, 1.0], 1_000, 1.0, 0.01) == [1.0, 0.0]


def test_a_row_is_drawn_alike_in_any_batch(random_model: LocalModel):
    prompts = [[1, 5, 9], [1, 7], [1, 30, 31, 32, 33]]
    seeds = ["a", "b", "c"]

    def texts(batch_size: int, seed: int = 0, temperature: float = 1.0) -> list[str]:
        decoding = Decoding(20, batch_size, temperature=temperature, top_p=0.95, seed=seed)
        return [one.text for one in generate(random_model, prompts, decoding, seeds=seeds)]

    assert texts(1) == texts(3) == texts(2)
    assert texts(3) != texts(3, seed=1)
    assert texts(3) != texts(3, temperature=0.0)

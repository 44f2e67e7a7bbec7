"""What the card of a model says of where its training data come from."""

from __future__ import annotations

import pytest

from ste_ray.core.asked_models import AskedModel
from ste_ray.training.config import TrainConfig
from ste_ray.training.figures import TrainSummary
from ste_ray.training.model_card import CardFacts, model_card

SUMMARY = TrainSummary(
    num_steps=1,
    num_examples=2,
    label_tokens=3,
    useful_tokens=4,
    train_loss=0.5,
    validation_loss=None,
    seconds=1.0,
)


@pytest.mark.parametrize(
    ("explorer", "told"),
    [
        (AskedModel(model="any", kind="script"), "a script (the scripted teacher of ste-ray), not"),
        (
            AskedModel(model="/home/me/big", kind="model"),
            "| explored by | the language model big |",
        ),
        (None, "| explored by | nobody here: the data were brought in |"),
    ],
)
def test_the_card_says_who_explored(explorer: AskedModel | None, told: str) -> None:
    facts = CardFacts(
        base="",
        tools=["add"],
        rows={"tool_call": 2},
        validation_rows=0,
        seed=0,
        parameters=10,
        trained=10,
        precision="fp32",
        version="1",
        explorer=explorer,
    )
    card = model_card(facts, TrainConfig(), SUMMARY)
    assert told in card
    assert "/home/me" not in card
